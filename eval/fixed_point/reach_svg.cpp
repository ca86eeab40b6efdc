#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <limits>
#include <utility>

#include "eval/fixed_point/pictures.h"
#include "eval/fixed_point/plot.h"
#include "eval/heat_map.h"

namespace sinkrouter {
namespace {

constexpr double kHeader = 98;
constexpr double kLeastShown = 0.01;  // percent; less has the palest colour

HeatMap map_of(const ModelInfo& model, std::string id, const ColourScale& colours) {
  return {.id = std::move(id),
          .title = {},
          .subtitle = {},
          .column_name = "q head",
          .columns = model.q_heads,
          .colours = colours};
}

template <typename Projection>
std::vector<double> values_of(const FixedPointReport& report, Projection projection) {
  std::vector<double> values;
  for (const HeadEffect& head : report.heads) values.push_back(std::invoke(projection, head));
  return values;
}

double percent_of(const std::optional<double>& share) {
  return share ? 100 * *share : std::numeric_limits<double>::quiet_NaN();
}

// One for all maps, so that they compare.
void set_scale(std::span<HeatMap> maps) {
  double low = 1;
  double high = 1;
  for (const HeatMap& map : maps) {
    for (double value : map.values) {
      if (value > kLeastShown) low = std::min(low, value);
      if (value > high) high = value;
    }
  }
  for (HeatMap& map : maps) map.scale = decades(low, high);
}

}  // namespace

std::string reach_svg(const ModelInfo& model, const FixedPointReport& report) {
  HeatMap dormant = map_of(model, "dormant", kBlues);
  dormant.title = "How often dormant";
  dormant.subtitle = fmt::format("share of tokens with over {:g} sink mass", kDormantMass);
  dormant.values = values_of(report, &HeadEffect::dormant_share);

  HeatMap effects[] = {map_of(model, "sink", kPurples), map_of(model, "quiet", kGreens),
                       map_of(model, "loud", kOranges)};
  effects[0].title = "What the sink's value adds";
  effects[0].subtitle = "p_0 |W_O v_0|, % of the residual stream";
  effects[0].values =
      values_of(report, [](const HeadEffect& head) { return 100 * head.sink_of_residual; });
  effects[1].title = "What the head adds when dormant";
  effects[1].subtitle = "|W_O o|, % of the residual stream; grey: never";
  effects[1].values = values_of(
      report, [](const HeadEffect& head) { return percent_of(head.dormant_of_residual); });
  effects[2].title = "What it adds otherwise";
  effects[2].subtitle = effects[1].subtitle;
  effects[2].values =
      values_of(report, [](const HeadEffect& head) { return percent_of(head.awake_of_residual); });
  set_scale(effects);

  const HeatMap upper[] = {dormant, effects[0]};
  const HeatMap lower[] = {effects[1], effects[2]};
  const double row = heat_maps_height(model.layers);
  Svg svg(heat_maps_width(upper), kHeader + 2 * row);
  svg.text(kPictureMargin, 44, 21, "start", Svg::kInk,
           fmt::format("Reachable: the sink's value in {}", model.name), R"( font-weight="600")");
  svg.text(kPictureMargin, 67, 13, "start", Svg::kFaint,
           fmt::format("{} tokens; {:.0f}% of (head, token) pairs dormant", report.tokens,
                       100 * report.dormant_share));
  draw_heat_maps(svg, upper, model.layers, kHeader);
  draw_heat_maps(svg, lower, model.layers, kHeader + row);
  return std::move(svg).finish();
}

}  // namespace sinkrouter
