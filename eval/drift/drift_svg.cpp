#include <fmt/format.h>

#include <algorithm>

#include "eval/svg.h"
#include "sinkrouter/drift.h"

namespace sinkrouter {
namespace {

constexpr double kWidth = 860;
constexpr double kLeft = 64;
constexpr double kRight = 24;
constexpr double kTop = 84;
constexpr double kPanel = 130;
constexpr double kGap = 44;
constexpr std::string_view kRateColour = "#d55e00";
constexpr std::string_view kReadColour = "#0072b2";
constexpr std::string_view kBoundColour = "#009e73";
constexpr std::string_view kGrid = "#e6e6e6";

// One curve over the steps, 0 to `most` up the panel.
struct Curve {
  std::string title;
  std::string_view colour;
  double DriftStep::*value;
  double most = 1;
  double mark = 0;  // a dashed line at this value, none at 0
};

class Picture {
 public:
  explicit Picture(const DriftResult& result)
      : result_(result), svg_(kWidth, kTop + 3 * (kPanel + kGap) + 10) {}

  std::string draw() && {
    svg_.text(kLeft, 30, 16, "start", Svg::kInk,
              fmt::format("{}: decisions that leave more than epsilon unread, as the text changes",
                          result_.model.name),
              R"( font-weight="600")");
    svg_.text(kLeft, 50, 12, "start", Svg::kFaint,
              fmt::format("policy {}, epsilon {}, {} tokens prefilled; each point is the mean of "
                          "{} steps",
                          name(result_.policy.kind), result_.policy.epsilon, result_.context,
                          kDriftWindow));
    const Curve curves[] = {
        {"violation rate (dashed: the audit's target)", kRateColour, &DriftStep::violation_rate,
         std::max(2.0 * kAuditTarget, most(&DriftStep::violation_rate)), kAuditTarget},
        {"factor on epsilon, mean of heads", kBoundColour, &DriftStep::tightening, 1, 0},
        {"rows read", kReadColour, &DriftStep::rows_read, most(&DriftStep::rows_read), 0}};
    double top = kTop;
    for (const Curve& curve : curves) {
      panel(curve, top);
      top += kPanel + kGap;
    }
    return std::move(svg_).finish();
  }

 private:
  double x(double step) const {
    return kLeft + (kWidth - kLeft - kRight) * step /
                       static_cast<double>(std::max<std::size_t>(1, steps()));
  }
  std::size_t steps() const { return result_.steps.size(); }

  // Over the last kDriftWindow steps of the same segment, as far as it goes back.
  double smooth(double DriftStep::*value, std::size_t at) const {
    std::size_t first = at + 1 >= kDriftWindow ? at + 1 - kDriftWindow : 0;
    for (const DriftSegment& segment : result_.segments) {
      if (static_cast<std::size_t>(segment.first) <= at) {
        first = std::max(first, static_cast<std::size_t>(segment.first));
      }
    }
    double total = 0;
    for (std::size_t i = first; i <= at; ++i) total += result_.steps[i].*value;
    return total / static_cast<double>(at + 1 - first);
  }

  double most(double DriftStep::*value) const {
    double most = 1e-3;
    for (std::size_t i = 0; i < steps(); ++i) most = std::max(most, smooth(value, i));
    return most;
  }

  void panel(const Curve& curve, double top) {
    const double bottom = top + kPanel;
    const auto y = [&](double value) { return bottom - kPanel * value / curve.most; };
    svg_.text(kLeft, top - 8, 12.5, "start", Svg::kInk, curve.title, R"( font-weight="600")");
    for (double share : {0.0, 0.5, 1.0}) {
      const double value = share * curve.most;
      svg_.line({kLeft, y(value)}, {kWidth - kRight, y(value)}, kGrid, 1);
      svg_.text(kLeft - 7, y(value) + 4, 11, "end", Svg::kInk, fmt::format("{:.3g}", value));
    }
    for (const DriftSegment& segment : result_.segments) {
      const double left = x(segment.first);
      if (segment.first > 0) svg_.line({left, top}, {left, bottom}, Svg::kFrame, 1);
      if (top == kTop) svg_.text(left + 5, top + 13, 11, "start", Svg::kFaint, segment.kind);
    }
    if (curve.mark > 0) {
      svg_.line({kLeft, y(curve.mark)}, {kWidth - kRight, y(curve.mark)}, Svg::kFaint, 1.3,
                R"( stroke-dasharray="6 4")");
    }
    std::vector<Svg::Point> points;
    for (std::size_t i = 0; i < steps(); ++i) {
      points.push_back({x(static_cast<double>(i)), y(smooth(curve.value, i))});
    }
    svg_.path(points, curve.colour, 1.6);
    svg_.rect(kLeft, top, kWidth - kLeft - kRight, kPanel, "none", Svg::kFrame);
    for (const DriftSegment& segment : result_.segments) {
      svg_.text(x(segment.first), bottom + 15, 11, "middle", Svg::kInk,
                fmt::format("{}", segment.first));
    }
    svg_.text(kWidth - kRight, bottom + 15, 11, "end", Svg::kInk, fmt::format("step {}", steps()));
  }

  const DriftResult& result_;
  Svg svg_;
};

}  // namespace

std::string to_svg(const DriftResult& result) { return Picture(result).draw(); }

}  // namespace sinkrouter
