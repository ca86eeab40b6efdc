#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "eval/suite/plot_panel.h"
#include "eval/suite/plot_scale.h"
#include "eval/suite/plot_series.h"
#include "eval/svg.h"
#include "eval/whole_file.h"
#include "sinkrouter/suite.h"

namespace sinkrouter {
namespace {

constexpr double kMargin = 32;
constexpr double kTop = 108;  // title and settings
constexpr double kLegendRow = 20;
constexpr double kLeft = 52;        // marks left of a panel
constexpr double kAbove = 40;       // its title
constexpr double kBelow = 26;       // marks under it
constexpr double kGap = 16;         // to the next panel
constexpr double kCharacter = 6.4;  // width at the legend's size
constexpr double kLeastWidth = 640;

// All there is to draw.
struct Plot {
  std::vector<SuiteTask> tasks;  // rows
  std::vector<int> contexts;     // columns
  std::vector<Panel> panels;
  std::vector<PlotSeries> series;
  PlotScale reads;
};

template <typename T>
void add_new(std::vector<T>& items, const T& item) {
  if (std::find(items.begin(), items.end(), item) == items.end()) items.push_back(item);
}

Plot plot_of(const SuiteResult& result, SuiteMode mode) {
  Plot plot;
  std::vector<std::string> policies;
  std::vector<double> reads;
  for (const SuiteCell& cell : result.cells) {
    if (cell.mode != mode || !result.is_complete(cell)) continue;
    add_new(plot.tasks, cell.task);
    add_new(plot.contexts, cell.context);
    if (cell.policy == kSuiteDense) {
      plot.panels.push_back({.task = cell.task, .context = cell.context, .dense = cell.score()});
      continue;
    }
    // The panel was begun by the dense cell, which stands before all others.
    Panel& panel = plot.panels.back();
    SR_ASSERT(panel.task == cell.task && panel.context == cell.context);
    panel.points.push_back({cell.policy, cell.reads.kv_read_fraction(), cell.score()});
    reads.push_back(cell.reads.kv_read_fraction());
    add_new(policies, cell.policy);
  }
  std::sort(plot.contexts.begin(), plot.contexts.end());
  plot.series = series_of(policies);
  plot.reads = share_scale(reads);
  return plot;
}

// A row for each task and a column for each context length; with one context length, tasks side by
// side.
struct Grid {
  int columns = 1;
  int rows = 1;

  struct Place {
    int column = 0;
    int row = 0;
  };
  Place place(const Plot& plot, const Panel& panel) const {
    const auto index = [](const auto& items, const auto& item) {
      return static_cast<int>(std::find(items.begin(), items.end(), item) - items.begin());
    };
    const int task = index(plot.tasks, panel.task);
    if (plot.contexts.size() > 1) return {index(plot.contexts, panel.context), task};
    return {task % columns, task / columns};
  }
};

Grid grid_of(const Plot& plot) {
  constexpr int kSideBySide = 3;
  const int tasks = static_cast<int>(plot.tasks.size());
  const int contexts = static_cast<int>(plot.contexts.size());
  if (contexts > 1) return {.columns = contexts, .rows = tasks};
  const int columns = std::clamp(tasks, 1, kSideBySide);
  return {.columns = columns, .rows = (tasks + columns - 1) / columns};
}

double legend_width(const std::string& label) {
  return 46 + kCharacter * static_cast<double>(label.size());
}

// Draws the legend and returns the y below it.
double add_legend(Svg* svg, const Plot& plot, double width, double top) {
  double x = kMargin;
  double y = top;
  const auto add = [&](const std::string& label, const auto& draw) {
    if (x > kMargin && x + legend_width(label) > width - kMargin) {
      x = kMargin;
      y += kLegendRow;
    }
    if (svg != nullptr) {
      draw(x, y);
      svg->text(x + 32, y + 4, 11.5, "start", Svg::kInk, label);
    }
    x += legend_width(label);
  };
  add("dense attention", [&](double left, double middle) {
    svg->line({left, middle}, {left + 26, middle}, Svg::kFaint, 1.3, kDenseDash);
  });
  for (std::size_t i = 0; i < plot.series.size(); ++i) {
    add(plot.series[i].label, [&](double left, double middle) {
      const SeriesStyle style = style_of(i);
      svg->line({left, middle}, {left + 26, middle}, style.colour, 1.6, style.dash);
      svg->dot({left + 13, middle}, 4, style.colour);
    });
  }
  return y + kLegendRow;
}

void add_header(Svg& svg, const SuiteResult& result, SuiteMode mode) {
  const SuiteSettings& settings = result.settings;
  svg.text(kMargin, 42, 20, "start", Svg::kInk,
           fmt::format("Quality over KV bytes read: {}", settings.model), R"( font-weight="600")");
  svg.text(kMargin, 64, 12.5, "start", Svg::kFaint,
           fmt::format("{}; samples {}, documents {} in each panel",
                       mode == SuiteMode::kDecode ? "question tokens decoded through the policy"
                                                  : "question tokens prefilled densely",
                       settings.samples, settings.documents));
  svg.text(
      kMargin, 82, 12.5, "start", Svg::kFaint,
      "across: KV bytes read, % of dense attention's; up: share of answers right, or perplexity");
}

}  // namespace

std::string to_svg(const SuiteResult& result, SuiteMode mode) {
  constexpr double kColumn = kLeft + kPanelWidth + kGap;
  constexpr double kRow = kAbove + kPanelHeight + kBelow;
  const Plot plot = plot_of(result, mode);
  const Grid grid = grid_of(plot);
  const double width = std::max(kLeastWidth, 2 * kMargin - kGap + kColumn * grid.columns);
  const double grid_top = add_legend(nullptr, plot, width, kTop);
  Svg svg(width, grid_top + kRow * grid.rows + kMargin);
  add_header(svg, result, mode);
  add_legend(&svg, plot, width, kTop);
  for (const Panel& panel : plot.panels) {
    const auto [column, row] = grid.place(plot, panel);
    draw_panel(svg, panel, plot.reads, plot.series,
               {kMargin + kLeft - 20 + kColumn * column, grid_top + kAbove + kRow * row});
  }
  return std::move(svg).finish();
}

void write_suite_plots(const SuiteResult& result, const std::filesystem::path& directory) {
  for (SuiteMode mode : {SuiteMode::kDecode, SuiteMode::kPrefill}) {
    const bool any = std::any_of(result.cells.begin(), result.cells.end(), [&](const auto& cell) {
      return cell.mode == mode && result.is_complete(cell);
    });
    if (!any) continue;
    write_whole_file(directory / fmt::format("{}.svg", name(mode)), to_svg(result, mode));
  }
}

}  // namespace sinkrouter
