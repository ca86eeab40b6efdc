#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>
#include <vector>

#include "eval/fixed_point/pictures.h"
#include "eval/fixed_point/plot.h"
#include "eval/heat_map.h"

namespace sinkrouter {
namespace {

constexpr double kTop = 122;
constexpr double kLeft = 100;
constexpr double kWidth = 300;
constexpr double kHeight = 220;
constexpr double kGap = 108;
constexpr double kLegend = 46;
constexpr double kLeastShown = 1e-6;
constexpr std::string_view kDashed = R"( stroke-dasharray="5 4")";
constexpr std::array<std::string_view, 3> kColours{"#2171b5", "#238b45", "#d94801"};
constexpr std::array<std::string_view, 3> kNames{"random direction", "along the query",
                                                 "against the query"};

PlotFrame frame_of(const FixedPointReport& report, Spread NoiseEffect::*measure, double left) {
  double low = 1;
  double high = kLeastShown;
  double smallest = report.noise.front().size;
  double largest = smallest;
  for (const NoiseEffect& noise : report.noise) {
    smallest = std::min(smallest, noise.size);
    largest = std::max(largest, noise.size);
    low = std::min(low, std::max((noise.*measure).median, kLeastShown));
    high = std::max(high, (noise.*measure).p95);
  }
  constexpr double kRoom = 1.25;
  PlotFrame frame{.corner = {left, kTop},
                  .width = kWidth,
                  .height = kHeight,
                  .x = {.low = smallest / kRoom, .high = largest * kRoom, .logarithmic = true},
                  .y = decades(low, high)};
  for (const NoiseEffect& noise : report.noise) {
    if (noise.direction == NoiseDirection::kRandom) frame.x.marks.push_back(noise.size);
  }
  return frame;
}

void draw_lines(Svg& svg, const PlotFrame& frame, const FixedPointReport& report,
                Spread NoiseEffect::*measure) {
  for (std::size_t which = 0; which < kColours.size(); ++which) {
    std::vector<Svg::Point> medians;
    std::vector<Svg::Point> tails;
    for (const NoiseEffect& noise : report.noise) {
      if (static_cast<std::size_t>(noise.direction) != which) continue;
      medians.push_back(frame.at(noise.size, (noise.*measure).median));
      tails.push_back(frame.at(noise.size, (noise.*measure).p95));
    }
    svg.path(tails, kColours[which], 1.6, kDashed);
    svg.path(medians, kColours[which], 2);
    std::size_t point = 0;
    for (const NoiseEffect& noise : report.noise) {
      if (static_cast<std::size_t>(noise.direction) != which) continue;
      svg.dot(medians[point++], 3.5, kColours[which],
              fmt::format("{}, {:g}: median {:.2g}, 95% below {:.2g}", kNames[which], noise.size,
                          (noise.*measure).median, (noise.*measure).p95));
    }
  }
}

void draw_legend(Svg& svg, double top) {
  double left = kLeft;
  for (std::size_t which = 0; which < kColours.size(); ++which) {
    svg.line({left, top}, {left + 24, top}, kColours[which], 2);
    svg.text(left + 30, top + 4, 12, "start", Svg::kInk, kNames[which]);
    left += 160;
  }
  svg.line({left, top}, {left + 24, top}, Svg::kFaint, 2);
  svg.text(left + 30, top + 4, 12, "start", Svg::kInk, "median");
  svg.line({left + 100, top}, {left + 124, top}, Svg::kFaint, 1.6, kDashed);
  svg.text(left + 130, top + 4, 12, "start", Svg::kInk, "95% below");
}

}  // namespace

std::string stability_svg(const ModelInfo& model, const FixedPointReport& report) {
  Svg svg(kLeft + 2 * kWidth + kGap + 40, kTop + kHeight + 56 + kLegend);
  svg.text(kPictureMargin, 44, 21, "start", Svg::kInk,
           fmt::format("Stable: noise on queries of {}", model.name), R"( font-weight="600")");
  if (report.noise.empty() || report.noise.front().decisions == 0) {
    svg.text(kPictureMargin, 67, 13, "start", Svg::kFaint,
             "no dormant decision was there to perturb");
    return std::move(svg).finish();
  }
  svg.text(kPictureMargin, 67, 13, "start", Svg::kFaint,
           fmt::format("{} dormant decisions, each with noise of every size in every direction",
                       report.noise.front().decisions));
  constexpr std::string_view kSize = "size of the noise over that of the query";
  const PlotFrame mass = frame_of(report, &NoiseEffect::sink_mass, kLeft);
  mass.draw(svg, "Sink mass", kSize, "change");
  draw_lines(svg, mass, report, &NoiseEffect::sink_mass);
  const PlotFrame output = frame_of(report, &NoiseEffect::output, kLeft + kWidth + kGap);
  output.draw(svg, "The head's output", kSize, "change over the mean |v_i|");
  draw_lines(svg, output, report, &NoiseEffect::output);
  draw_legend(svg, kTop + kHeight + 62);
  return std::move(svg).finish();
}

}  // namespace sinkrouter
