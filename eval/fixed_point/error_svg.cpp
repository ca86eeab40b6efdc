#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string_view>
#include <utility>

#include "eval/fixed_point/pictures.h"
#include "eval/fixed_point/plot.h"
#include "eval/heat_map.h"

namespace sinkrouter {
namespace {

constexpr double kTop = 132;
constexpr double kLeft = 100;
constexpr double kSide = 242;
constexpr double kColumnGap = 94;
constexpr double kRowGap = 92;

// One row of panels: what is measured, in what place of the model.
struct Measure {
  BoundCheck ErrorControl::*check;
  std::string_view place;
  std::string_view bound;
  std::string_view error;
};
constexpr Measure kMeasures[] = {
    {&ErrorControl::output, "", "bound: p_U (R_V + |o_S|)", "error: |o - o_S|"},
    {&ErrorControl::stream, " (stream)", "bound: |W_O| p_U (R_V + |o_S|)",
     "error: |W_O (o - o_S)|"}};

std::string_view title_of(ReadRows rows) {
  switch (rows) {
    case ReadRows::kSink:
      return "Sink alone";
    case ReadRows::kKept:
      return "First block and window";
    case ReadRows::kListed:
      return "The policy's list";
  }
  return "";
}

std::int64_t count_of(const LogHistogram& histogram, int x, int y) {
  return histogram.counts[static_cast<std::size_t>(y) * LogHistogram::kBins + x];
}

// From the lowest to the highest bin that anything is in.
PlotScale scale_of(const FixedPointReport& report, const Measure& measure) {
  int lowest = LogHistogram::kBins;
  int highest = 0;
  for (const ErrorControl& control : report.errors) {
    for (int y = 0; y < LogHistogram::kBins; ++y) {
      for (int x = 0; x < LogHistogram::kBins; ++x) {
        if (count_of((control.*measure.check).histogram, x, y) == 0) continue;
        lowest = std::min({lowest, x, y});
        highest = std::max({highest, x, y});
      }
    }
  }
  if (lowest > highest) return decades(1e-3, 1);
  return decades(LogHistogram::edge(lowest), LogHistogram::edge(highest + 1));
}

void draw_bins(Svg& svg, const PlotFrame& frame, const LogHistogram& histogram) {
  const auto largest = static_cast<double>(std::ranges::max(histogram.counts));
  for (int y = 0; y < LogHistogram::kBins; ++y) {
    for (int x = 0; x < LogHistogram::kBins; ++x) {
      const std::int64_t count = count_of(histogram, x, y);
      if (count == 0) continue;
      const Svg::Point low = frame.at(LogHistogram::edge(x), LogHistogram::edge(y));
      const Svg::Point high = frame.at(LogHistogram::edge(x + 1), LogHistogram::edge(y + 1));
      // A single decision is to be seen as well.
      const double place =
          0.25 + 0.75 * std::log1p(static_cast<double>(count)) / std::log1p(largest);
      svg.rect(low.x, high.y, high.x - low.x, low.y - high.y, colour_at(kBlues, place), "none",
               fmt::format("{}", count));
    }
  }
}

void draw_panel(Svg& svg, const PlotFrame& frame, const Measure& measure,
                const ErrorControl& control) {
  const BoundCheck& check = control.*measure.check;
  frame.draw(svg, fmt::format("{}{}", title_of(control.rows), measure.place), measure.bound,
             measure.error);
  draw_bins(svg, frame, check.histogram);
  svg.line(frame.at(frame.x.low, frame.x.low), frame.at(frame.x.high, frame.x.high), Svg::kInk, 1.2,
           R"( stroke-dasharray="5 4")");
  const double x = frame.corner.x + 10;
  svg.text(x, frame.corner.y + 18, 11, "start", Svg::kFaint,
           fmt::format("{} decisions", check.decisions));
  if (check.decisions == 0) return;
  svg.text(x, frame.corner.y + 33, 11, "start", Svg::kFaint,
           fmt::format("within: {:.4g}%", 100 * check.within_bound));
  svg.text(x, frame.corner.y + 48, 11, "start", Svg::kFaint,
           fmt::format("median error / bound {:.2g}", check.ratio.median));
}

}  // namespace

std::string error_svg(const ModelInfo& model, const FixedPointReport& report) {
  Svg svg(kLeft + static_cast<double>(report.errors.size()) * (kSide + kColumnGap) - kColumnGap +
              kPictureMargin,
          kTop + 2 * kSide + kRowGap + 56);
  svg.text(kPictureMargin, 44, 21, "start", Svg::kInk,
           fmt::format("Error-controllable: bound and error in {}", model.name),
           R"( font-weight="600")");
  svg.text(kPictureMargin, 67, 13, "start", Svg::kFaint,
           "decisions of one q head at one token, darker where there are more; dashed: as large as "
           "the bound");
  svg.text(kPictureMargin, 86, 13, "start", Svg::kFaint,
           "above: outputs over the mean value norm; below: what W_O makes of them, over the norm "
           "of the residual stream");
  double top = kTop;
  for (const Measure& measure : kMeasures) {
    const PlotScale scale = scale_of(report, measure);
    double left = kLeft;
    for (const ErrorControl& control : report.errors) {
      draw_panel(svg,
                 {.corner = {left, top}, .width = kSide, .height = kSide, .x = scale, .y = scale},
                 measure, control);
      left += kSide + kColumnGap;
    }
    top += kSide + kRowGap;
  }
  return std::move(svg).finish();
}

}  // namespace sinkrouter
