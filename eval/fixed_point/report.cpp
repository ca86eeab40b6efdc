#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <optional>

#include "base/check.h"
#include "eval/fixed_point/observer.h"
#include "eval/fixed_point/spread.h"

namespace sinkrouter {
namespace {

double mean_of(double sum, std::int64_t count) {
  return count == 0 ? 0.0 : sum / static_cast<double>(count);
}

constexpr double kBinWidth = (LogHistogram::kHigh - LogHistogram::kLow) / LogHistogram::kBins;

int bin_of(double value) {
  const double place = value > 0 ? (std::log10(value) - LogHistogram::kLow) / kBinWidth : 0;
  return static_cast<int>(std::clamp(place, 0.0, LogHistogram::kBins - 1.0));
}

}  // namespace

void validate(const FixedPointOptions& options) {
  SR_CHECK(options.noise.size() <= FixedPointOptions::kMostSizes, kInvalidArgument,
           "{} sizes of noise; expected at most {}", options.noise.size(),
           FixedPointOptions::kMostSizes);
  for (double size : options.noise) {
    SR_CHECK(size > 0 && std::isfinite(size), kInvalidArgument,
             "noise of size {} is out of range: expected more than 0", size);
  }
  SR_CHECK(options.perturbed_tokens >= 0, kInvalidArgument,
           "{} perturbed tokens; expected at least 0", options.perturbed_tokens);
}

std::string_view name(NoiseDirection direction) {
  switch (direction) {
    case NoiseDirection::kRandom:
      return "random";
    case NoiseDirection::kAlong:
      return "along";
    case NoiseDirection::kAgainst:
      return "against";
  }
  return "";
}

std::string_view name(ReadRows rows) {
  switch (rows) {
    case ReadRows::kSink:
      return "sink";
    case ReadRows::kKept:
      return "kept";
    case ReadRows::kListed:
      return "listed";
  }
  return "";
}

double LogHistogram::edge(int bin) { return std::pow(10.0, kLow + bin * kBinWidth); }

void LogHistogram::add(double x, double y) {
  ++counts[static_cast<std::size_t>(bin_of(y)) * kBins + bin_of(x)];
}

BoundCheck FixedPointObserver::BoundSums::check() const {
  const auto decisions = static_cast<std::int64_t>(sample.seen());
  return {.decisions = decisions,
          .within_bound = mean_of(static_cast<double>(within), decisions),
          .largest_ratio = largest_ratio,
          .ratio = spread_of(sample.items(), &Pair::ratio),
          .bound = spread_of(sample.items(), &Pair::bound),
          .error = spread_of(sample.items(), &Pair::error),
          .histogram = histogram};
}

HeadEffect FixedPointObserver::effect_of(std::size_t at) const {
  const HeadSums& head = heads_[at];
  const int layer = static_cast<int>(at) / model_.q_heads;
  const int index = static_cast<int>(at) % model_.q_heads;
  const auto over = [](double effect, double stream) {
    return stream > 0 ? std::optional(effect / stream) : std::nullopt;
  };
  return {.layer = layer,
          .head = index,
          .kv_head = index / (model_.q_heads / model_.kv_heads),
          .dormant_share = mean_of(static_cast<double>(head.dormant), tokens_),
          .sink_mass = head.sink_mass / tokens_,
          .sink_value_of_mean = head.sink_value_of_mean,
          .sink_of_mean = head.sink_of_mean,
          .sink_of_residual = over(head.sink_effect, residual_norms_[layer]).value_or(0),
          .dormant_of_residual = over(head.dormant_effect, head.dormant_stream),
          .awake_of_residual = over(head.awake_effect, head.awake_stream)};
}

FixedPointReport FixedPointObserver::report() const {
  FixedPointReport report{.tokens = tokens_};
  for (double norms : residual_norms_) report.residual_norms.push_back(norms / tokens_);
  std::int64_t dormant = 0;
  for (std::size_t i = 0; i < heads_.size(); ++i) {
    dormant += heads_[i].dormant;
    report.heads.push_back(effect_of(i));
  }
  report.dormant_share =
      static_cast<double>(dormant) / (tokens_ * static_cast<double>(heads_.size()));
  for (std::size_t i = 0; i < noise_.size(); ++i) {
    const NoiseSums& sums = noise_[i];
    const auto decisions = static_cast<std::int64_t>(sums.sample.seen());
    report.noise.push_back(
        {.direction = static_cast<NoiseDirection>(i / options_.noise.size()),
         .size = options_.noise[i % options_.noise.size()],
         .decisions = decisions,
         .sink_mass = spread_of(sums.sample.items(), &Movement::sink_mass_change),
         .output = spread_of(sums.sample.items(), &Movement::output),
         .still_dormant = mean_of(static_cast<double>(sums.still_dormant), decisions)});
  }
  for (std::size_t rows = 0; rows < errors_.size(); ++rows) {
    const ErrorSums& sums = errors_[rows];
    report.errors.push_back({.rows = static_cast<ReadRows>(rows),
                             .decisions = static_cast<std::int64_t>(sums.unread_mass.seen()),
                             .unread_mass = spread_of(sums.unread_mass.items(), std::identity{}),
                             .output = sums.output.check(),
                             .stream = sums.stream.check()});
  }
  report.engine_difference = engine_difference_;
  return report;
}

}  // namespace sinkrouter
