#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <random>
#include <span>
#include <vector>

#include "base/rng.h"
#include "eval/fixed_point/observer.h"
#include "support/tiny_model.h"

// The observer's sums against the formulas written out, on random queries, rows, lists and streams
// and a random checkpoint.
namespace sinkrouter {
namespace {

constexpr int kLayers = 2;
constexpr int kHeads = 4;
constexpr int kKvHeads = 2;
constexpr int kDim = 64;
constexpr int kHidden = 64;
constexpr int kTokens = 3;
constexpr int kContext = 90;
constexpr int kWindow = 8;
constexpr float kScale = 0.125f;

using Vector = std::vector<double>;

double length_of(const Vector& vector) {
  double sum = 0;
  for (double x : vector) sum += x * x;
  return std::sqrt(sum);
}

double ranked(Vector values, double share) {
  std::ranges::sort(values);
  return values[static_cast<std::size_t>(share * static_cast<double>(values.size() - 1))];
}

// What a decode step shows of one layer.
struct Layer : ObservedRows {
  void copy_keys(int kv_head, std::span<float> rows) const override {
    std::ranges::copy(keys[kv_head], rows.begin());
  }
  void copy_values(int kv_head, std::span<float> rows) const override {
    std::ranges::copy(values[kv_head], rows.begin());
  }
  Vector value(int kv_head, int row) const {
    const auto first = values[kv_head].begin() + row * kDim;
    return Vector(first, first + kDim);
  }

  AttentionObservation seen;
  std::vector<float> keys[kKvHeads];
  std::vector<float> values[kKvHeads];
  std::vector<float> queries, logits, output, residual;
  std::vector<std::int32_t> counts, lists;
};

class FixedPointReference : public ::testing::Test {
 protected:
  FixedPointReference()
      : seed_(std::random_device{}()), rng_(seed_), trace_(__FILE__, __LINE__, seed_) {
    testing::write_tiny_model(directory_.path(), {}, seed_);
    EngineOptions options;
    options.model = directory_.path();
    options.threads = 1;
    engine_ = std::make_unique<Engine>(options);
    for (int token = 0; token < kTokens; ++token) {
      for (int layer = 0; layer < kLayers; ++layer) {
        layers_.push_back(make(layer, kContext - kTokens + 1 + token));
      }
    }
  }

  std::vector<float> normals(std::size_t count, float size) {
    std::vector<float> values(count);
    for (float& x : values) x = size * rng_.normal();
    return values;
  }

  // The key of position 0 is along the queries of its first q head, whose dormancy so depends on
  // what is drawn; the other q heads of a group are awake.
  std::unique_ptr<Layer> make(int layer, int length) {
    auto made = std::make_unique<Layer>();
    const auto rows = static_cast<std::size_t>(length);
    made->queries = normals(kHeads * kDim, 1);
    made->residual = normals(kHidden, 3);
    made->output = normals(kHeads * kDim, 1);
    made->logits.resize(kHeads * rows);
    for (int kv_head = 0; kv_head < kKvHeads; ++kv_head) {
      made->keys[kv_head] = normals(rows * kDim, 1);
      made->values[kv_head] = normals(rows * kDim, 1);
      const double pull = 0.7 + 1.3 * rng_.uniform();
      for (int i = 0; i < kDim; ++i) {
        made->keys[kv_head][i] = static_cast<float>(pull) * made->queries[2 * kv_head * kDim + i];
      }
      made->counts.push_back(0);
      made->lists.resize((kv_head + 1) * rows);
      for (int row = 0; row < length; ++row) {
        if (row != 0 && rng_.below(3) != 0) continue;
        made->lists[kv_head * rows + made->counts.back()++] = row;
      }
    }
    for (int head = 0; head < kHeads; ++head) {
      for (int row = 0; row < length; ++row) {
        double logit = 0;
        for (int i = 0; i < kDim; ++i) {
          logit += double{made->queries[head * kDim + i]} * made->keys[head / 2][row * kDim + i];
        }
        made->logits[head * rows + row] = static_cast<float>(logit * kScale);
      }
    }
    AttentionObservation& seen = made->seen;
    seen.layer = layer;
    seen.length = length;
    seen.logits = made->logits;
    seen.logit_stride = length;
    seen.list_counts = made->counts;
    seen.lists = made->lists;
    seen.list_stride = length;
    seen.granule = 1;
    seen.scale = kScale;
    seen.queries = made->queries;
    seen.output = made->output;
    seen.residual = made->residual;
    seen.rows = made.get();
    return made;
  }

  FixedPointReport observed(const std::vector<double>& noise) {
    FixedPointObserver observer(*engine_, {.noise = noise}, kWindow, kContext, kTokens);
    for (const auto& layer : layers_) observer.observe(layer->seen);
    return observer.report();
  }

  // Softmax of the logits, moved by `factor` times themselves.
  static Vector masses(const Layer& layer, int head, double factor = 0) {
    const auto first = layer.logits.begin() + head * layer.seen.length;
    Vector masses(first, first + layer.seen.length);
    double sum = 0;
    for (double& x : masses) sum += x = std::exp(x * (1 + factor));
    for (double& x : masses) x /= sum;
    return masses;
  }

  // sum_i masses_i v_i over the rows that `wanted` holds, over their mass.
  template <typename Wanted>
  static Vector output(const Layer& layer, int head, const Vector& masses, Wanted wanted) {
    Vector output(kDim);
    double mass = 0;
    for (int row = 0; row < layer.seen.length; ++row) {
      if (!wanted(row)) continue;
      mass += masses[row];
      const Vector value = layer.value(head / 2, row);
      for (int i = 0; i < kDim; ++i) output[i] += masses[row] * value[i];
    }
    for (double& x : output) x /= mass;
    return output;
  }

  Vector projected(int layer, int head, const Vector& value) const {
    const std::vector<float> columns = engine_->output_projection(layer, head);
    Vector result(kHidden);
    for (int row = 0; row < kHidden; ++row) {
      for (int i = 0; i < kDim; ++i) result[row] += columns[row * kDim + i] * value[i];
    }
    return result;
  }

  static double mean_norm(const Layer& layer, int head) {
    double sum = 0;
    for (int row = 1; row < layer.seen.length; ++row) {
      sum += length_of(layer.value(head / 2, row));
    }
    return sum / (layer.seen.length - 1);
  }

  static bool reads(const Layer& layer, ReadRows rows, int head, int row) {
    if (rows == ReadRows::kSink) return row == 0;
    if (rows == ReadRows::kKept) return row < 32 || row >= layer.seen.length - kWindow;
    return std::ranges::count(layer.seen.list(head / 2), row) == 1;
  }

  static double residual_norm(const Layer& layer) {
    return length_of(Vector(layer.residual.begin(), layer.residual.end()));
  }

  testing::TemporaryDirectory directory_;
  std::uint64_t seed_;
  Rng rng_;
  ::testing::ScopedTrace trace_;
  std::unique_ptr<Engine> engine_;
  std::vector<std::unique_ptr<Layer>> layers_;  // by token and layer
};

TEST_F(FixedPointReference, WhatHeadsAddToTheStream) {
  const FixedPointReport report = observed({0.1});
  for (const HeadEffect& head : report.heads) {
    double stream = 0, sink = 0, mass = 0, dormant = 0, still = 0, still_stream = 0;
    double awake = 0, awake_stream = 0;
    for (const auto& layer : layers_) {
      if (layer->seen.layer != head.layer) continue;
      const Vector shares = masses(*layer, head.head);
      const double norm = residual_norm(*layer);
      stream += norm;
      mass += shares[0];
      sink +=
          shares[0] * length_of(projected(head.layer, head.head, layer->value(head.head / 2, 0)));
      const double added = length_of(projected(
          head.layer, head.head, output(*layer, head.head, shares, [](int) { return true; })));
      const bool asleep = shares[0] > kDormantMass;
      dormant += asleep ? 1 : 0;
      (asleep ? still : awake) += added;
      (asleep ? still_stream : awake_stream) += norm;
    }
    // Of the last token, whose layers come last.
    const Layer& last = *layers_[(kTokens - 1) * kLayers + head.layer];
    double others = 0;
    for (int row = 1; row < last.seen.length; ++row) {
      others += length_of(projected(head.layer, head.head, last.value(head.kv_head, row)));
    }
    const Vector sink_value = last.value(head.kv_head, 0);
    EXPECT_NEAR(
        head.sink_of_mean,
        length_of(projected(head.layer, head.head, sink_value)) / (others / (last.seen.length - 1)),
        1e-9);
    EXPECT_NEAR(head.sink_value_of_mean, length_of(sink_value) / mean_norm(last, head.head), 1e-9);
    EXPECT_NEAR(report.residual_norms[head.layer], stream / kTokens, 1e-9);
    EXPECT_NEAR(head.sink_mass, mass / kTokens, 1e-12);
    EXPECT_NEAR(head.dormant_share, dormant / kTokens, 1e-12);
    EXPECT_NEAR(head.sink_of_residual, sink / stream, 1e-12);
    EXPECT_EQ(head.dormant_of_residual.has_value(), dormant > 0);
    EXPECT_EQ(head.awake_of_residual.has_value(), dormant < kTokens);
    EXPECT_NEAR(head.dormant_of_residual.value_or(0), dormant > 0 ? still / still_stream : 0,
                1e-12);
    EXPECT_NEAR(head.awake_of_residual.value_or(0), dormant < kTokens ? awake / awake_stream : 0,
                1e-12);
  }
}

TEST_F(FixedPointReference, ErrorsAndBounds) {
  const FixedPointReport report = observed({0.1});
  for (const ErrorControl& control : report.errors) {
    SCOPED_TRACE(name(control.rows));
    Vector unread, bounds, errors, stream_errors, stream_ratios;
    for (const auto& layer : layers_) {
      for (int head = 0; head < kHeads; ++head) {
        const Vector shares = masses(*layer, head);
        const auto read = [&](int row) { return reads(*layer, control.rows, head, row); };
        double mass = 0, largest = 0;
        for (int row = 0; row < layer->seen.length; ++row) {
          if (read(row)) continue;
          mass += shares[row];
          largest = std::max(largest, length_of(layer->value(head / 2, row)));
        }
        const Vector partial = output(*layer, head, shares, read);
        Vector difference = output(*layer, head, shares, [](int) { return true; });
        for (int i = 0; i < kDim; ++i) difference[i] -= partial[i];
        const double mean = mean_norm(*layer, head);
        unread.push_back(mass);
        bounds.push_back(mass * (largest + length_of(partial)) / mean);
        errors.push_back(length_of(difference) / mean);
        EXPECT_LE(errors.back(), bounds.back());
        stream_errors.push_back(length_of(projected(layer->seen.layer, head, difference)) /
                                residual_norm(*layer));
        stream_ratios.push_back(stream_errors.back() / bounds.back());
      }
    }
    ASSERT_EQ(control.decisions, static_cast<std::int64_t>(errors.size()));
    for (const auto& [spread, values] :
         {std::pair(control.unread_mass, unread), std::pair(control.output.bound, bounds),
          std::pair(control.output.error, errors),
          std::pair(control.stream.error, stream_errors)}) {
      EXPECT_NEAR(spread.median, ranked(values, 0.5), 1e-10);
      EXPECT_NEAR(spread.p95, ranked(values, 0.95), 1e-10);
    }
    double largest_ratio = 0;
    for (std::size_t i = 0; i < errors.size(); ++i) {
      largest_ratio = std::max(largest_ratio, errors[i] / bounds[i]);
    }
    // A difference of outputs that are alike to 1e-10 has six digits left.
    EXPECT_NEAR(control.output.largest_ratio, largest_ratio, 1e-6);
    EXPECT_EQ(control.output.within_bound, 1);
    EXPECT_EQ(control.stream.within_bound, 1);
    EXPECT_GT(control.stream.largest_ratio, 0);
    EXPECT_LE(control.stream.largest_ratio, 1);
  }
}

TEST_F(FixedPointReference, NoiseOfQueries) {
  const std::vector<double> sizes{1e-9, 0.3};
  const FixedPointReport report = observed(sizes);
  for (const NoiseEffect& noise : report.noise) {
    SCOPED_TRACE(::testing::Message() << name(noise.direction) << " " << noise.size);
    Vector moved_mass, moved_output, most_mass;
    double still = 0;
    for (const auto& layer : layers_) {
      for (int head = 0; head < kHeads; ++head) {
        const Vector before = masses(*layer, head);
        if (before[0] <= kDormantMass) continue;
        const double factor =
            noise.direction == NoiseDirection::kAgainst ? -noise.size : noise.size;
        const Vector after = masses(*layer, head, factor);
        const auto all = [](int) { return true; };
        Vector change = output(*layer, head, before, all);
        const Vector now = output(*layer, head, after, all);
        for (int i = 0; i < kDim; ++i) change[i] -= now[i];
        moved_mass.push_back(std::abs(after[0] - before[0]));
        moved_output.push_back(length_of(change) / mean_norm(*layer, head));
        still += after[0] > kDormantMass ? 1 : 0;

        // No logit moves further than this; the odds of the sink by at most twice it.
        const float* query = layer->queries.data() + head * kDim;
        double longest = 0;
        for (int row = 0; row < layer->seen.length; ++row) {
          const float* key = layer->keys[head / 2].data() + row * kDim;
          longest = std::max(longest, length_of(Vector(key, key + kDim)));
        }
        const double shift = noise.size * kScale * longest * length_of(Vector(query, query + kDim));
        const double odds = before[0] / (1 - before[0]);
        const double lowest = odds * std::exp(-2 * shift);
        const double highest = odds * std::exp(2 * shift);
        most_mass.push_back(
            std::max(before[0] - lowest / (1 + lowest), highest / (1 + highest) - before[0]));
      }
    }
    ASSERT_EQ(noise.decisions, static_cast<std::int64_t>(moved_mass.size()));
    ASSERT_FALSE(moved_mass.empty());
    if (noise.direction == NoiseDirection::kRandom) {
      EXPECT_GT(noise.output.median, 0);
      EXPECT_LE(noise.sink_mass.p95, std::ranges::max(most_mass) + 1e-12);
      continue;
    }
    EXPECT_NEAR(noise.sink_mass.median, ranked(moved_mass, 0.5), 1e-12);
    EXPECT_NEAR(noise.output.median, ranked(moved_output, 0.5), 1e-12);
    EXPECT_NEAR(noise.output.p95, ranked(moved_output, 0.95), 1e-12);
    EXPECT_NEAR(noise.still_dormant, still / static_cast<double>(moved_mass.size()), 1e-12);
  }
}

}  // namespace
}  // namespace sinkrouter
