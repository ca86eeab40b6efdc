#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace sinkrouter {

// Policies that differ in one setting and are drawn as one line.
struct PlotSeries {
  std::string label;  // "margin:granule=1, epsilon 0.002 to 0.05"
  std::vector<std::string> policies{};
};

// The series of policies written NAME[:SETTING=VALUE...], in the order given. Of each NAME, the
// setting with the most different values runs along a line (the first such one); policies that
// differ in any other setting are on different lines.
std::vector<PlotSeries> series_of(std::span<const std::string> policies);

}  // namespace sinkrouter
