#include "eval/heat_map.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string_view>

namespace sinkrouter {
namespace {

constexpr double kMapTop = 62;     // map title and axis above the cells
constexpr double kAxisWidth = 44;  // layer numbers left of the cells
constexpr double kBarGap = 14;
constexpr double kBarWidth = 12;
constexpr double kBarLabels = 34;
constexpr double kMapGap = 40;
constexpr double kLeastMapWidth = 150;  // of the cells, so that titles fit
constexpr double kAxisBelow = 30;
constexpr std::string_view kNothing = "#d9d9d9";

Colour mixed(const ColourScale& colours, double value) {
  const double place = std::clamp(value, 0.0, 1.0) * (colours.size() - 1);
  const auto low = std::min(static_cast<std::size_t>(place), colours.size() - 2);
  const double share = place - static_cast<double>(low);
  const auto mix = [&](int a, int b) { return static_cast<int>(std::lround(a + share * (b - a))); };
  return {mix(colours[low].red, colours[low + 1].red),
          mix(colours[low].green, colours[low + 1].green),
          mix(colours[low].blue, colours[low + 1].blue)};
}

std::string hex(const Colour& colour) {
  return fmt::format("#{:02x}{:02x}{:02x}", colour.red, colour.green, colour.blue);
}

bool is_dark(const Colour& colour) {
  return 0.299 * colour.red + 0.587 * colour.green + 0.114 * colour.blue < 140;
}

double cell_width(const HeatMap& map) {
  return std::clamp(520.0 / map.columns, 9.0, map.widest_cell);
}
double cells_width(const HeatMap& map) { return cell_width(map) * map.columns; }
double map_width(const HeatMap& map) {
  return kAxisWidth + std::max(kLeastMapWidth, cells_width(map) + kBarGap + kBarWidth + kBarLabels);
}
double cell_height(int layers) { return std::clamp(620.0 / layers, 9.0, 30.0); }

// Labels so far apart that they do not touch.
int label_step(double cell, double least) {
  int step = 1;
  while (step * cell < least) step *= 2;
  return step;
}

std::string written(const PlotScale& scale, double value) {
  return scale.logarithmic ? fmt::format("{:.2g}", value) : fmt::format("{:.2f}", value);
}

void add_cells(Svg& svg, const HeatMap& map, int layers, double left, double top) {
  const double width = cell_width(map);
  const double height = cell_height(layers);
  const bool numbers = width >= 26 && height >= 14;
  for (int layer = 0; layer < layers; ++layer) {
    for (int column = 0; column < map.columns; ++column) {
      const std::size_t cell = static_cast<std::size_t>(layer) * map.columns + column;
      const double value = map.values[cell];
      const double x = left + column * width;
      const double y = top + layer * height;
      if (std::isnan(value)) {
        svg.rect(x, y, width, height, kNothing, "#ffffff",
                 fmt::format("layer {}, {} {}: none", layer, map.column_name, column));
        continue;
      }
      const Colour fill = mixed(map.colours, map.scale.place(value));
      svg.rect(x, y, width, height, hex(fill), "#ffffff",
               fmt::format("layer {}, {} {}: {:.3f}{}", layer, map.column_name, column, value,
                           map.notes.empty() ? "" : map.notes[cell]));
      if (numbers) {
        svg.text(x + width / 2, y + height / 2 + 3.8, 11, "middle",
                 is_dark(fill) ? "#ffffff" : Svg::kInk, written(map.scale, value),
                 R"( pointer-events="none")");
      }
    }
  }
  svg.rect(left, top, cells_width(map), height * layers, "none", Svg::kFrame);
}

void add_axes(Svg& svg, const HeatMap& map, int layers, double left, double top) {
  const double width = cell_width(map);
  const double height = cell_height(layers);
  for (int layer = 0; layer < layers; layer += label_step(height, 14)) {
    svg.text(left - 7, top + (layer + 0.5) * height + 4, 11, "end", Svg::kInk,
             fmt::format("{}", layer));
  }
  for (int column = 0; column < map.columns; column += label_step(width, 20)) {
    svg.text(left + (column + 0.5) * width, top - 6, 11, "middle", Svg::kInk,
             fmt::format("{}", column));
  }
  const double x = left - 31;
  const double y = top + layers * height / 2;
  svg.text(x, y, 12, "middle", Svg::kFaint, "layer",
           fmt::format(R"svg( transform="rotate(-90 {:.1f} {:.1f})")svg", x, y));
  svg.text(left + cells_width(map) / 2, top + layers * height + 20, 12, "middle", Svg::kFaint,
           map.column_name);
}

void add_bar(Svg& svg, const HeatMap& map, int layers, double left, double top) {
  const double height = std::min(220.0, cell_height(layers) * layers);
  std::string gradient =
      fmt::format(R"(<linearGradient id="{}" x1="0" y1="1" x2="0" y2="0">)", map.id);
  for (std::size_t stop = 0; stop < map.colours.size(); ++stop) {
    gradient +=
        fmt::format(R"(<stop offset="{}%" stop-color="{}"/>)", 25 * stop, hex(map.colours[stop]));
  }
  svg.raw(gradient + "</linearGradient>\n");
  svg.rect(left, top, kBarWidth, height, fmt::format("url(#{})", map.id), Svg::kFrame);
  for (double mark : map.scale.marks) {
    svg.text(left + kBarWidth + 5, top + height * (1 - map.scale.place(mark)) + 4, 11, "start",
             Svg::kInk,
             map.scale.logarithmic ? fmt::format("{:g}", mark) : fmt::format("{:.1f}", mark));
  }
}

void add_map(Svg& svg, const HeatMap& map, int layers, double left, double top) {
  const double cells_left = left + kAxisWidth;
  const double cells_top = top + kMapTop;
  svg.text(left, top + 8, 15, "start", Svg::kInk, map.title, R"( font-weight="600")");
  svg.text(left, top + 26, 12, "start", Svg::kFaint, map.subtitle);
  add_cells(svg, map, layers, cells_left, cells_top);
  add_axes(svg, map, layers, cells_left, cells_top);
  add_bar(svg, map, layers, cells_left + cells_width(map) + kBarGap, cells_top);
}

}  // namespace

std::string colour_at(const ColourScale& colours, double place) {
  return hex(mixed(colours, place));
}

double heat_maps_width(std::span<const HeatMap> maps) {
  double width = 2 * kPictureMargin + kMapGap * static_cast<double>(maps.size() - 1);
  for (const HeatMap& map : maps) width += map_width(map);
  return width;
}

double heat_maps_height(int layers) {
  return kMapTop + cell_height(layers) * layers + kAxisBelow + kPictureMargin;
}

void draw_heat_maps(Svg& svg, std::span<const HeatMap> maps, int layers, double top) {
  double left = kPictureMargin;
  for (const HeatMap& map : maps) {
    add_map(svg, map, layers, left, top);
    left += map_width(map) + kMapGap;
  }
}

}  // namespace sinkrouter
