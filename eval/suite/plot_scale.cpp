#include "eval/suite/plot_scale.h"

#include <algorithm>
#include <cmath>

namespace sinkrouter {
namespace {

constexpr std::size_t kMostMarks = 8;
constexpr double kSlack = 1e-9;  // of rounding, relative

// Powers of ten times each of the steps, in [low, high].
std::vector<double> decade_marks(double low, double high, std::span<const double> steps) {
  std::vector<double> marks;
  for (int power = static_cast<int>(std::floor(std::log10(low))); std::pow(10.0, power) <= high;
       ++power) {
    for (double step : steps) {
      const double mark = step * std::pow(10.0, power);
      if (mark >= low * (1 - kSlack) && mark <= high * (1 + kSlack)) marks.push_back(mark);
    }
  }
  return marks;
}

// 1, 2 or 5 times a power of ten, such that there are 3 to 8 steps in a range.
double round_step(double range) {
  const double least = range / 6;
  const double power = std::pow(10.0, std::floor(std::log10(least)));
  for (double step : {1.0, 2.0, 5.0}) {
    if (step * power >= least) return step * power;
  }
  return 10 * power;
}

}  // namespace

double PlotScale::place(double value) const {
  if (!logarithmic) return (value - low) / (high - low);
  return std::log(value / low) / std::log(high / low);
}

PlotScale share_scale(std::span<const double> shares) {
  constexpr double kRoom = 1.12;
  PlotScale scale{.low = 0.5, .high = 1, .logarithmic = true};
  for (double share : shares) {
    if (share <= 0) continue;
    scale.low = std::min(scale.low, share);
    scale.high = std::max(scale.high, share);
  }
  scale.low /= kRoom;
  scale.high *= kRoom;
  constexpr double kFine[] = {1, 2, 5};
  constexpr double kCoarse[] = {1};
  scale.marks = decade_marks(scale.low, scale.high, kFine);
  if (scale.marks.size() > kMostMarks) {
    scale.marks = decade_marks(scale.low, scale.high, kCoarse);
  }
  return scale;
}

PlotScale accuracy_scale() {
  constexpr double kRoom = 0.06;
  return {.low = -kRoom, .high = 1 + kRoom, .marks = {0, 0.25, 0.5, 0.75, 1}};
}

PlotScale perplexity_scale(double dense, std::span<const double> values) {
  constexpr double kLeastRange = 0.01;  // of dense
  constexpr double kRoom = 0.12;        // of the range
  constexpr double kRoomForNotes = 0.5;
  double low = dense;
  double high = dense;
  bool beyond = false;
  for (double value : values) {
    if (value > kTallest * dense) {
      beyond = true;
      continue;
    }
    low = std::min(low, value);
    high = std::max(high, value);
  }
  const double range = std::max(high - low, kLeastRange * dense);
  PlotScale scale{.low = low - kRoom * range,
                  .high = low + (1 + (beyond ? kRoomForNotes : kRoom)) * range};
  const double step = round_step(scale.high - scale.low);
  for (double mark = std::ceil(scale.low / step) * step; mark <= scale.high; mark += step) {
    scale.marks.push_back(mark);
  }
  return scale;
}

}  // namespace sinkrouter
