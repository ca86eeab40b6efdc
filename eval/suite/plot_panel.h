#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "eval/suite/plot_scale.h"
#include "eval/suite/plot_series.h"
#include "eval/svg.h"
#include "sinkrouter/suite.h"

namespace sinkrouter {

// One task at one context length: a point for each policy.
struct Panel {
  struct Point {
    std::string policy;
    double read = 0;  // KV read fraction
    double score = 0;
  };

  SuiteTask task = SuiteTask::kNeedle;
  int context = 0;
  double dense = 0;
  std::vector<Point> points{};
};

inline constexpr double kPanelWidth = 262;
inline constexpr double kPanelHeight = 152;

struct SeriesStyle {
  std::string_view colour;
  std::string_view dash;  // attributes of a line
};
SeriesStyle style_of(std::size_t series);  // by its index
inline constexpr std::string_view kDenseDash = R"( stroke-dasharray="6 4")";

// The frame's upper left corner is at `corner`; title and marks are outside of it.
void draw_panel(Svg& svg, const Panel& panel, const PlotScale& reads,
                std::span<const PlotSeries> series, Svg::Point corner);

}  // namespace sinkrouter
