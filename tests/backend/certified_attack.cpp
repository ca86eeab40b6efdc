// Looks for keys and queries that make policy certified leave more than epsilon unread:
//   certified_attack [decisions] [seed]
// Queries climb, each q head for itself, on the share of epsilon that they leave unread; keys are
// drawn anew, or changed where that helped. Exit status 1 when a decision leaves more than epsilon.
#include <fmt/format.h>

#include <chrono>
#include <cstdlib>
#include <random>

#include "backend/attention_fixture.h"
#include "backend/true_masses.h"

namespace sinkrouter::test {
namespace {

constexpr int kDim = AttentionFixture::kDim;
constexpr int kHeads = 2;
constexpr int kGroup = 4;
constexpr int kQHeads = kHeads * kGroup;

struct Tally {
  std::int64_t decisions = 0;
  std::int64_t left_something = 0;
  std::int64_t violations = 0;
  double largest = 0;  // p_U / epsilon

  void add(double share) {
    ++decisions;
    left_something += share > 0 ? 1 : 0;
    violations += share > 1 ? 1 : 0;
    largest = std::max(largest, share);
  }
};

class Attack {
 public:
  explicit Attack(std::uint64_t seed) : rng_(seed) {}

  // One set of keys and the queries that climb on it.
  void round(std::int64_t most_decisions, Tally& tally) {
    constexpr DType kTypes[] = {DType::kF32, DType::kBF16, DType::kF16};
    const int length = 96 + static_cast<int>(rng_.below(250));
    AttentionFixture fixture(kHeads, kGroup, 512, 4, kTypes[rng_.below(3)], 1);
    std::vector<float> keys = draw_keys(length);
    const std::vector<float> values = normals(keys.size(), rng_);
    constexpr float kEpsilons[] = {0.5f, 0.1f, 0.01f, 0.002f, 1e-4f};
    const PolicyOptions policy{.kind = PolicyKind::kCertified,
                               .epsilon = kEpsilons[rng_.below(5)],
                               .window = 1 + static_cast<int>(rng_.below(64))};
    best_.assign(kQHeads, -1.0);
    best_queries_ = draw_queries(keys);
    std::vector<float> best_keys = keys;
    double best_of_keys = 0;
    for (int generation = 0; generation < 6 && tally.decisions < most_decisions; ++generation) {
      if (generation > 0) {
        keys = best_keys;
        change_keys(keys);
      }
      const SequenceId id = fixture.cache().create();
      fixture.append(id, keys, values);
      TrueMasses masses(fixture.view(id));
      const double found = climb(fixture, id, masses, policy, tally);
      if (found > best_of_keys) {
        best_of_keys = found;
        best_keys = keys;
      }
      fixture.cache().release(id);
    }
  }

 private:
  static constexpr int kSteps = 120;

  double climb(AttentionFixture& fixture, SequenceId id, TrueMasses& masses,
               const PolicyOptions& policy, Tally& tally) {
    double found = 0;
    std::fill(best_.begin(), best_.end(), -1.0);
    for (int step = 0; step < kSteps; ++step) {
      std::vector<float> queries = best_queries_;
      if (step > 0) {
        for (int q = 0; q < kQHeads; ++q) change_query(masses, q / kGroup, &queries[q * kDim]);
      }
      const AttentionObserver observer = read_.observer();
      fixture.decode(id, queries, policy, nullptr, &observer);
      const std::vector<double>& unread = masses.unread(queries, fixture.scale(), read_);
      for (int q = 0; q < kQHeads; ++q) {
        const double share = unread[q] / policy.epsilon;
        tally.add(share);
        found = std::max(found, share);
        if (share < best_[q]) continue;
        best_[q] = share;
        std::copy_n(&queries[q * kDim], kDim, &best_queries_[q * kDim]);
      }
    }
    return found;
  }

  // Larger or smaller, along a key, along an axis, or another way.
  void change_query(const TrueMasses& masses, int kv_head, float* query) {
    float norm = 1e-20f;
    for (int c = 0; c < kDim; ++c) norm += query[c] * query[c];
    norm = std::sqrt(norm / kDim);
    switch (rng_.below(4)) {
      case 0: {
        const float factor = std::exp(0.3f * rng_.normal());
        for (int c = 0; c < kDim; ++c) query[c] *= factor;
        break;
      }
      case 1: {
        const int row = static_cast<int>(rng_.below(masses.length()));
        const double* key = masses.key(kv_head, row);
        double size = 1e-20;
        for (int c = 0; c < kDim; ++c) size += key[c] * key[c];
        const double along = 0.3 * rng_.normal() * norm * std::sqrt(kDim / size);
        for (int c = 0; c < kDim; ++c) query[c] += static_cast<float>(along * key[c]);
        break;
      }
      case 2:
        query[rng_.below(kDim)] += norm * rng_.normal();
        break;
      default: {
        const float size = norm * std::exp(-4 * static_cast<float>(rng_.uniform()));
        for (int c = 0; c < kDim; ++c) query[c] += size * rng_.normal();
      }
    }
  }

  // A few rows like others or further along, or noise.
  void change_keys(std::vector<float>& keys) {
    const int rows = static_cast<int>(keys.size()) / (kHeads * kDim);
    const auto row_of = [&](int row, int head) { return &keys[(row * kHeads + head) * kDim]; };
    for (int change = 0; change < 20; ++change) {
      const int head = static_cast<int>(rng_.below(kHeads));
      float* to = row_of(static_cast<int>(rng_.below(rows)), head);
      const float* from = row_of(static_cast<int>(rng_.below(rows)), head);
      const float* query = &best_queries_[(head * kGroup + rng_.below(kGroup)) * kDim];
      const float along = 0.2f * rng_.normal();
      const bool copies = rng_.below(2) == 0;
      for (int c = 0; c < kDim; ++c) {
        to[c] = copies ? from[c] * (1 + 0.05f * rng_.normal()) : to[c] + along * query[c];
      }
    }
  }

  std::vector<float> draw_keys(int length) {
    constexpr float kSizes[] = {1e-3f, 0.3f, 1.0f, 1.0f, 3.0f, 100.0f, 1e4f};
    const float size = kSizes[rng_.below(7)];
    std::vector<float> keys = normals(std::int64_t{length} * kHeads * kDim, rng_, size);
    const std::vector<float> centre =
        normals(kHeads * kDim, rng_, size * (rng_.below(2) == 0 ? 0.0f : 5.0f));
    const std::uint64_t kind = rng_.below(4);
    for (std::size_t i = 0; i < keys.size(); ++i) {
      if (kind == 1) keys[i] = std::copysign(size, keys[i]);               // corners
      if (kind == 2 && i % kDim != 7) keys[i] *= 0.01f;                    // one channel
      if (kind == 3) keys[i] *= 1e-3f + static_cast<float>(i / kDim % 3);  // unequal rows
      keys[i] += centre[i % centre.size()];
    }
    return keys;
  }

  std::vector<float> draw_queries(const std::vector<float>& keys) {
    double square = 0;
    for (float x : keys) square += double{x} * x;
    const double size = std::sqrt(square / static_cast<double>(keys.size()));
    const double logits = 4 * rng_.uniform();  // their deviation, roughly
    return normals(kQHeads * kDim, rng_, static_cast<float>(logits / size));
  }

  Rng rng_;
  ReadRows read_;
  std::vector<double> best_;         // [q heads], p_U / epsilon
  std::vector<float> best_queries_;  // [q heads, kDim]
};

int run(std::int64_t decisions, std::uint64_t seed) {
  const auto start = std::chrono::steady_clock::now();
  Attack attack(seed);
  Tally tally;
  while (tally.decisions < decisions) attack.round(decisions, tally);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  fmt::print(
      "{} decisions, {} left something unread, {} left more than epsilon; largest p_U / epsilon "
      "{:.4f}; seed {}, {:.1f} s\n",
      tally.decisions, tally.left_something, tally.violations, tally.largest, seed,
      seconds.count());
  return tally.violations == 0 ? 0 : 1;
}

}  // namespace
}  // namespace sinkrouter::test

int main(int argc, char** argv) {
  const std::int64_t decisions = argc > 1 ? std::atoll(argv[1]) : 100000;
  const std::uint64_t seed =
      argc > 2 ? std::strtoull(argv[2], nullptr, 10) : std::random_device{}();
  return sinkrouter::test::run(decisions, seed);
}
