#pragma once

#include <string_view>

#include "eval/suite/plot_scale.h"
#include "eval/svg.h"

namespace sinkrouter {

// Whole powers of ten around [low, high], marked at every power, or at every other one of many.
PlotScale decades(double low, double high);

// A frame with logarithmic axes.
struct PlotFrame {
  Svg::Point corner;  // upper left
  double width = 0;
  double height = 0;
  PlotScale x;
  PlotScale y;

  Svg::Point at(double x_value, double y_value) const;
  // The frame, its grid and what is written around it.
  void draw(Svg& svg, std::string_view title, std::string_view x_name,
            std::string_view y_name) const;
};

}  // namespace sinkrouter
