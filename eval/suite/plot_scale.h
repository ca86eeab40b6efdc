#pragma once

#include <span>
#include <vector>

namespace sinkrouter {

// Values along an axis of a plot, with the marks to write at it.
struct PlotScale {
  double low = 0;
  double high = 1;
  bool logarithmic = false;
  std::vector<double> marks{};  // ascending, in [low, high]

  // Share of the way from low to high, 0 to 1 for values between them.
  double place(double value) const;
};

// Shares of something, above 0: logarithmic, from below the least of them to 1 or above the
// largest, marked at 1, 2 and 5 times powers of ten, or at powers only where that is too dense.
PlotScale share_scale(std::span<const double> shares);

// 0 to 1 with a little room at both ends.
PlotScale accuracy_scale();

// Perplexities around `dense`, up to at most `kTallest` times it; larger ones lie beyond the scale,
// which then has room at its end to write them down.
inline constexpr double kTallest = 1.3;
PlotScale perplexity_scale(double dense, std::span<const double> values);

}  // namespace sinkrouter
