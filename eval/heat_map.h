#pragma once

#include <array>
#include <span>
#include <string>
#include <vector>

#include "eval/suite/plot_scale.h"
#include "eval/svg.h"

namespace sinkrouter {

struct Colour {
  int red;
  int green;
  int blue;
};
using ColourScale = std::array<Colour, 5>;  // at 0, 0.25, 0.5, 0.75, 1

inline constexpr ColourScale kBlues = {
    {{247, 251, 255}, {198, 219, 239}, {107, 174, 214}, {33, 113, 181}, {8, 48, 107}}};
inline constexpr ColourScale kGreens = {
    {{247, 252, 245}, {199, 233, 192}, {116, 196, 118}, {35, 139, 69}, {0, 68, 27}}};
inline constexpr ColourScale kPurples = {
    {{252, 251, 253}, {218, 218, 235}, {158, 154, 200}, {106, 81, 163}, {63, 0, 125}}};
inline constexpr ColourScale kOranges = {
    {{255, 245, 235}, {253, 208, 162}, {253, 141, 60}, {217, 72, 1}, {127, 39, 4}}};

std::string colour_at(const ColourScale& colours, double place);  // "#rrggbb"; place in [0, 1]

// One value per layer and column, as colours.
struct HeatMap {
  std::string id;  // of the drawing's own
  std::string title;
  std::string subtitle;
  std::string column_name;  // "head"
  int columns = 0;
  double widest_cell = 40;
  ColourScale colours;
  PlotScale scale{.low = 0, .high = 1, .marks = {0, 0.5, 1}};
  std::vector<double> values{};      // [layers, columns], NaN where there is none
  std::vector<std::string> notes{};  // [layers, columns] shown after the value, or empty
};

// Left of maps and of what is written above them.
inline constexpr double kPictureMargin = 36;

// Side by side with room around them, `top` pixels below the drawing's upper edge.
double heat_maps_width(std::span<const HeatMap> maps);
double heat_maps_height(int layers);
void draw_heat_maps(Svg& svg, std::span<const HeatMap> maps, int layers, double top);

}  // namespace sinkrouter
