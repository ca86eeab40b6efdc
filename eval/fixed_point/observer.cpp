#include "eval/fixed_point/observer.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <numeric>

#include "base/block_size.h"
#include "base/check.h"
#include "eval/fixed_point/attention.h"

namespace sinkrouter {
namespace {

constexpr std::array kDirections{NoiseDirection::kRandom, NoiseDirection::kAlong,
                                 NoiseDirection::kAgainst};
constexpr std::size_t kMostProjected = 1024;  // rows, evenly spread, that W_O is applied to
// With less unread than this the rounding of o and o_S is all there is to see.
constexpr double kLeastUnreadMass = 1e-10;
// Of sums of a few thousand doubles, relative to the largest value norm.
constexpr double kRounding = 1e-12;

std::uint8_t bit(ReadRows rows) { return static_cast<std::uint8_t>(1 << static_cast<int>(rows)); }

}  // namespace

FixedPointObserver::FixedPointObserver(const Engine& engine, const FixedPointOptions& options,
                                       int window, int context, int tokens,
                                       const Progress& progress)
    : model_(engine.info()),
      options_(options),
      window_(window),
      context_(context),
      tokens_(tokens),
      residual_norms_(static_cast<std::size_t>(model_.layers)),
      heads_(static_cast<std::size_t>(model_.layers) * model_.q_heads),
      noise_(kDirections.size() * options.noise.size()),
      errors_(PartialRead::kMaxSets),
      direction_(static_cast<std::size_t>(model_.head_dim)),
      read_(model_.head_dim),
      rng_(options.seed) {
  maps_.reserve(heads_.size());
  for (int layer = 0; layer < model_.layers; ++layer) {
    if (progress) progress("output maps", layer / static_cast<double>(model_.layers));
    for (int head = 0; head < model_.q_heads; ++head) {
      maps_.emplace_back(engine.output_projection(layer, head), model_.head_dim);
    }
  }
}

bool FixedPointObserver::perturbs(const AttentionObservation& seen) const {
  const std::int64_t step = seen.length - (context_ - tokens_) - 1;
  const std::int64_t wanted = std::min(options_.perturbed_tokens, tokens_);
  return step * wanted / tokens_ != (step + 1) * wanted / tokens_;
}

void FixedPointObserver::observe(const AttentionObservation& seen) {
  SR_CHECK(seen.rows != nullptr && !seen.residual.empty(), kInvalidArgument,
           "a fixed point is measured from the cache's rows and the residual stream: this "
           "device shows its observers neither");
  residual_norm_ = norm(seen.residual);
  residual_norms_[seen.layer] += residual_norm_;
  const auto rows = static_cast<std::size_t>(seen.length);
  for (std::vector<double>* array : {&logits_, &masses_, &shift_}) array->resize(rows);
  const int group = model_.q_heads / model_.kv_heads;
  for (int kv_head = 0; kv_head < model_.kv_heads; ++kv_head) {
    read_rows(seen, kv_head);
    mark_sets(seen, kv_head);
    for (int i = 0; i < group; ++i) observe_head(seen, kv_head * group + i);
  }
}

void FixedPointObserver::read_rows(const AttentionObservation& seen, int kv_head) {
  const auto width = static_cast<std::size_t>(model_.head_dim);
  const auto rows = static_cast<std::size_t>(seen.length);
  rows_.values.resize(rows * width);
  seen.rows->copy_values(kv_head, rows_.values);
  if (perturbs(seen)) {
    rows_.keys.resize(rows * width);
    seen.rows->copy_keys(kv_head, rows_.keys);
  }
  rows_.norms.resize(rows);
  for (std::size_t row = 0; row < rows; ++row) {
    rows_.norms[row] = norm(std::span<const float>(rows_.values).subspan(row * width, width));
  }
  rows_.mean_norm = std::accumulate(rows_.norms.begin() + 1, rows_.norms.end(), 0.0) /
                    static_cast<double>(rows - 1);
  rows_.largest_norm = std::ranges::max(rows_.norms);
}

void FixedPointObserver::mark_sets(const AttentionObservation& seen, int kv_head) {
  rows_.sets.assign(static_cast<std::size_t>(seen.length), 0);
  rows_.sets[0] |= bit(ReadRows::kSink);
  for (int row = 0; row < seen.length; ++row) {
    if (row < kBlockSize || row >= seen.length - window_) rows_.sets[row] |= bit(ReadRows::kKept);
  }
  for (std::int32_t granule : seen.list(kv_head)) {
    const int first = granule * seen.granule;
    for (int row = first; row < std::min(first + seen.granule, seen.length); ++row) {
      rows_.sets[row] |= bit(ReadRows::kListed);
    }
  }
}

void FixedPointObserver::observe_head(const AttentionObservation& seen, int head) {
  const std::span<const float> logits =
      seen.logits.subspan(static_cast<std::size_t>(head * seen.logit_stride), logits_.size());
  std::ranges::copy(logits, logits_.begin());
  softmax(logits_, masses_);
  read_.attend(masses_, rows_.values, rows_.norms, rows_.sets);

  const std::size_t index = static_cast<std::size_t>(seen.layer) * model_.q_heads + head;
  const bool dormant = masses_[0] > kDormantMass;
  const std::span<const float> sink_value =
      std::span<const float>(rows_.values).first(static_cast<std::size_t>(model_.head_dim));
  HeadSums& sums = heads_[index];
  sums.dormant += dormant ? 1 : 0;
  sums.sink_mass += masses_[0];
  sums.sink_effect += masses_[0] * maps_[index].norm(sink_value);
  (dormant ? sums.dormant_effect : sums.awake_effect) += maps_[index].norm(read_.output());
  (dormant ? sums.dormant_stream : sums.awake_stream) += residual_norm_;

  if (is_last(seen)) observe_values(index);
  if (!(rows_.mean_norm > 0)) return;  // nothing to compare with
  observe_errors(seen, head);
  if (dormant && perturbs(seen)) observe_noise(seen, head);
}

void FixedPointObserver::BoundSums::add(const Pair& pair, double slack, Rng& rng) {
  within += pair.error <= pair.bound + slack ? 1 : 0;
  largest_ratio = std::max(largest_ratio, pair.ratio());
  histogram.add(pair.bound, pair.error);
  sample.add(pair, rng);
}

void FixedPointObserver::observe_error(ReadRows rows, const OutputMap& map) {
  const double unread = read_.unread_mass(static_cast<int>(rows));
  if (!(unread > kLeastUnreadMass && unread < 1)) return;
  const ReadError error = read_.error_of(static_cast<int>(rows));
  ErrorSums& sums = errors_[static_cast<std::size_t>(rows)];
  sums.unread_mass.add(unread, rng_);
  const double slack = kRounding * rows_.largest_norm;
  sums.output.add({error.bound / rows_.mean_norm, error.error / rows_.mean_norm},
                  slack / rows_.mean_norm, rng_);
  if (!(residual_norm_ > 0)) return;
  const double gain = map.largest_gain() / residual_norm_;
  sums.stream.add({gain * error.bound, map.norm(error.difference) / residual_norm_}, gain * slack,
                  rng_);
}

void FixedPointObserver::observe_errors(const AttentionObservation& seen, int head) {
  const OutputMap& map = maps_[static_cast<std::size_t>(seen.layer) * model_.q_heads + head];
  for (const ReadRows rows : {ReadRows::kSink, ReadRows::kKept, ReadRows::kListed}) {
    observe_error(rows, map);
  }
  const std::vector<double> listed = read_.output_of(static_cast<int>(ReadRows::kListed));
  const auto width = static_cast<std::size_t>(model_.head_dim);
  const std::span<const float> output =
      seen.output.subspan(static_cast<std::size_t>(head) * width, width);
  const std::vector<double> computed(output.begin(), output.end());
  engine_difference_ = std::max(engine_difference_, distance(computed, listed) / rows_.mean_norm);
}

// The query q goes to q + size |q| u, so the logits move by size |q| scale (u . k_i); with u along
// the query that is size times themselves.
void FixedPointObserver::observe_noise(const AttentionObservation& seen, int head) {
  const auto width = static_cast<std::size_t>(model_.head_dim);
  noisy_.attend(logits_, rows_.values, model_.head_dim);
  for (std::size_t which = 0; which < kDirections.size(); ++which) {
    if (kDirections[which] == NoiseDirection::kRandom) {
      for (double& x : direction_) x = rng_.normal();
      const double length =
          norm(seen.queries.subspan(static_cast<std::size_t>(head) * width, width)) * seen.scale /
          norm(direction_);
      for (double& x : direction_) x *= length;
      dot_products(rows_.keys, direction_, shift_);
    } else {
      const double sign = kDirections[which] == NoiseDirection::kAlong ? 1 : -1;
      std::ranges::transform(logits_, shift_.begin(), [&](double x) { return sign * x; });
    }
    for (std::size_t size = 0; size < options_.noise.size(); ++size) {
      Movement movement = noisy_.moved(shift_, options_.noise[size]);
      NoiseSums& sums = noise_[which * options_.noise.size() + size];
      sums.still_dormant += movement.sink_mass > kDormantMass ? 1 : 0;
      movement.output /= rows_.mean_norm;
      sums.sample.add(movement, rng_);
    }
  }
}

// Values change little from token to token, so the whole text's are looked at once, and no more of
// them than a mean needs.
void FixedPointObserver::observe_values(std::size_t index) {
  const auto width = static_cast<std::size_t>(model_.head_dim);
  const std::span<const float> values = rows_.values;
  const std::size_t step = (rows_.norms.size() - 1 + kMostProjected - 1) / kMostProjected;
  double others = 0;
  std::size_t count = 0;
  for (std::size_t row = 1; row < rows_.norms.size(); row += step, ++count) {
    others += maps_[index].norm(values.subspan(row * width, width));
  }
  others /= static_cast<double>(count);
  const double sink = maps_[index].norm(values.first(width));
  heads_[index].sink_of_mean = others > 0 ? sink / others : 0;
  heads_[index].sink_value_of_mean = rows_.mean_norm > 0 ? rows_.norms[0] / rows_.mean_norm : 0;
}

}  // namespace sinkrouter
