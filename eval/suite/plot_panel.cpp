#include "eval/suite/plot_panel.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace sinkrouter {
namespace {

constexpr double kCharacter = 6.9;  // width of a digit at the labels' size, about
constexpr const char* kGrid = "#e6e6e6";
constexpr const char* kHalo = R"( stroke="#ffffff" stroke-width="3" paint-order="stroke")";

// Told apart by people of any colour vision (Okabe and Ito).
constexpr std::array kColours{"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                              "#e69f00", "#56b4e9", "#8a6d3b", "#000000"};
constexpr const char* kDashes[] = {"", R"( stroke-dasharray="5 3")", R"( stroke-dasharray="2 2")"};

// A panel's place on the page and what its axes mean.
class PanelArea {
 public:
  PanelArea(const Panel& panel, const PlotScale& reads, Svg::Point corner)
      : panel_(panel), reads_(reads), left_(corner.x), top_(corner.y) {
    std::vector<double> scores;
    for (const Panel::Point& point : panel.points) scores.push_back(point.score);
    scores_ = is_perplexity(panel.task) ? perplexity_scale(panel.dense, scores) : accuracy_scale();
  }

  void draw(Svg& svg, std::span<const PlotSeries> series) const {
    draw_frame(svg);
    const double dense = y(panel_.dense);
    svg.line({left_, dense}, {left_ + kPanelWidth, dense}, Svg::kFaint, 1.3, kDenseDash);
    for (std::size_t i = 0; i < series.size(); ++i) {
      std::vector<Panel::Point> points;
      for (const Panel::Point& point : panel_.points) {
        if (series_index(point, series) == i) points.push_back(point);
      }
      draw_series(svg, std::move(points), style_of(i));
    }
    draw_beyond(svg, series);
  }

 private:
  double x(double read) const { return left_ + kPanelWidth * reads_.place(read); }
  double y(double score) const { return top_ + kPanelHeight * (1 - scores_.place(score)); }

  void draw_frame(Svg& svg) const {
    svg.text(left_, top_ - 10, 12.5, "start", Svg::kInk,
             fmt::format("{} at {}", name(panel_.task), panel_.context), R"( font-weight="600")");
    svg.text(left_ + kPanelWidth, top_ - 10, 11, "end", Svg::kFaint,
             fmt::format("dense {:.{}f}", panel_.dense, is_perplexity(panel_.task) ? 2 : 3));
    for (double mark : reads_.marks) {
      svg.line({x(mark), top_}, {x(mark), top_ + kPanelHeight}, kGrid, 1);
      svg.text(x(mark), top_ + kPanelHeight + 16, 11, "middle", Svg::kInk,
               fmt::format("{:.6g}", 100 * mark));
    }
    for (double mark : scores_.marks) {
      svg.line({left_, y(mark)}, {left_ + kPanelWidth, y(mark)}, kGrid, 1);
      svg.text(left_ - 7, y(mark) + 4, 11, "end", Svg::kInk, fmt::format("{:.6g}", mark));
    }
    svg.rect(left_, top_, kPanelWidth, kPanelHeight, "none", Svg::kFrame);
  }

  void draw_series(Svg& svg, std::vector<Panel::Point> points, const SeriesStyle& style) const {
    std::sort(points.begin(), points.end(),
              [](const Panel::Point& a, const Panel::Point& b) { return a.read < b.read; });
    std::vector<Svg::Point> places;
    for (const Panel::Point& point : points) {
      places.push_back({x(point.read), std::max(y(point.score), top_)});
    }
    if (places.size() > 1) svg.path(places, style.colour, 1.6, style.dash);
    for (std::size_t i = 0; i < points.size(); ++i) {
      const std::string title = fmt::format("{}: {:.4g}, KV read {:.1f}%", points[i].policy,
                                            points[i].score, 100 * points[i].read);
      svg.dot(places[i], 4, style.colour, title);
    }
  }

  // What the points beyond the scale stand for, on as many lines as keep the texts apart.
  void draw_beyond(Svg& svg, std::span<const PlotSeries> series) const {
    constexpr double kLine = 13;
    std::vector<Panel::Point> beyond;
    for (const Panel::Point& point : panel_.points) {
      if (point.score > scores_.high) beyond.push_back(point);
    }
    std::sort(beyond.begin(), beyond.end(),
              [](const Panel::Point& a, const Panel::Point& b) { return a.read < b.read; });
    std::vector<double> line_ends;  // x of the last text on each line
    for (const Panel::Point& point : beyond) {
      const std::string number = fmt::format("{:.4g}", point.score);
      const double width = kCharacter * static_cast<double>(number.size() + 2);
      const double left = std::min(x(point.read) + 7, left_ + kPanelWidth - width);
      const auto free =
          std::find_if(line_ends.begin(), line_ends.end(), [&](double end) { return end < left; });
      const auto line = free - line_ends.begin();
      if (free == line_ends.end()) line_ends.push_back(0);
      line_ends[static_cast<std::size_t>(line)] = left + width;
      svg.text(left, top_ + 15 + kLine * static_cast<double>(line), 11, "start",
               style_of(series_index(point, series)).colour, "\u2191 " + number, kHalo);
    }
  }

  static std::size_t series_index(const Panel::Point& point, std::span<const PlotSeries> series) {
    const auto found = std::find_if(series.begin(), series.end(), [&](const PlotSeries& one) {
      return std::find(one.policies.begin(), one.policies.end(), point.policy) !=
             one.policies.end();
    });
    return static_cast<std::size_t>(found - series.begin());
  }

  const Panel& panel_;
  const PlotScale& reads_;
  PlotScale scores_;
  double left_;
  double top_;
};

}  // namespace

SeriesStyle style_of(std::size_t series) {
  return {kColours[series % kColours.size()],
          kDashes[series / kColours.size() % std::size(kDashes)]};
}

void draw_panel(Svg& svg, const Panel& panel, const PlotScale& reads,
                std::span<const PlotSeries> series, Svg::Point corner) {
  PanelArea(panel, reads, corner).draw(svg, series);
}

}  // namespace sinkrouter
