#include "eval/fixed_point/plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace sinkrouter {
namespace {

constexpr int kMostMarks = 6;
constexpr std::string_view kGrid = "#eeeeee";

// 0.001 to 1000 as they are, others as powers of ten.
std::string written(double value) {
  if (value >= 1e-3 && value <= 1e3) return fmt::format("{:g}", value);
  return fmt::format("{:.0e}", value);
}

}  // namespace

PlotScale decades(double low, double high) {
  const int first = static_cast<int>(std::floor(std::log10(low) + 1e-9));
  const int last = std::max(first + 1, static_cast<int>(std::ceil(std::log10(high) - 1e-9)));
  PlotScale scale{.low = std::pow(10.0, first), .high = std::pow(10.0, last), .logarithmic = true};
  const int step = last - first > kMostMarks ? 2 : 1;
  for (int power = first; power <= last; power += step) {
    scale.marks.push_back(std::pow(10.0, power));
  }
  return scale;
}

Svg::Point PlotFrame::at(double x_value, double y_value) const {
  const auto place = [](const PlotScale& scale, double value) {
    return std::clamp(scale.place(std::max(value, scale.low)), 0.0, 1.0);
  };
  return {corner.x + width * place(x, x_value), corner.y + height * (1 - place(y, y_value))};
}

void PlotFrame::draw(Svg& svg, std::string_view title, std::string_view x_name,
                     std::string_view y_name) const {
  const double bottom = corner.y + height;
  for (double mark : x.marks) {
    const double place = at(mark, y.low).x;
    svg.line({place, corner.y}, {place, bottom}, kGrid, 1);
    svg.text(place, bottom + 16, 11, "middle", Svg::kInk, written(mark));
  }
  for (double mark : y.marks) {
    const double place = at(x.low, mark).y;
    svg.line({corner.x, place}, {corner.x + width, place}, kGrid, 1);
    svg.text(corner.x - 6, place + 4, 11, "end", Svg::kInk, written(mark));
  }
  svg.rect(corner.x, corner.y, width, height, "none", Svg::kFrame);
  svg.text(corner.x, corner.y - 12, 13, "start", Svg::kInk, title, R"( font-weight="600")");
  svg.text(corner.x + width / 2, bottom + 34, 12, "middle", Svg::kFaint, x_name);
  const Svg::Point side{corner.x - 60, corner.y + height / 2};
  svg.text(side.x, side.y, 12, "middle", Svg::kFaint, y_name,
           fmt::format(R"svg( transform="rotate(-90 {:.1f} {:.1f})")svg", side.x, side.y));
}

}  // namespace sinkrouter
