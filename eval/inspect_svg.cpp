#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "eval/svg.h"
#include "sinkrouter/inspect.h"

namespace sinkrouter {
namespace {

constexpr double kMargin = 36;
constexpr double kHeader = 137;    // title and summary above the maps
constexpr double kMapTop = 62;     // map title and axis above the cells
constexpr double kAxisWidth = 44;  // layer numbers left of the cells
constexpr double kBarGap = 14;
constexpr double kBarWidth = 12;
constexpr double kBarLabels = 34;
constexpr double kMapGap = 40;
constexpr double kLeastMapWidth = 150;  // of the cells, so that titles fit

struct Colour {
  int red;
  int green;
  int blue;
};
using Scale = std::array<Colour, 5>;  // at 0, 0.25, 0.5, 0.75, 1

constexpr Scale kBlues = {
    {{247, 251, 255}, {198, 219, 239}, {107, 174, 214}, {33, 113, 181}, {8, 48, 107}}};
constexpr Scale kGreens = {
    {{247, 252, 245}, {199, 233, 192}, {116, 196, 118}, {35, 139, 69}, {0, 68, 27}}};
constexpr Scale kPurples = {
    {{252, 251, 253}, {218, 218, 235}, {158, 154, 200}, {106, 81, 163}, {63, 0, 125}}};
constexpr Scale kOranges = {
    {{255, 245, 235}, {253, 208, 162}, {253, 141, 60}, {217, 72, 1}, {127, 39, 4}}};

Colour colour_at(const Scale& scale, double value) {
  const double place = std::clamp(value, 0.0, 1.0) * (scale.size() - 1);
  const auto low = std::min(static_cast<std::size_t>(place), scale.size() - 2);
  const double share = place - static_cast<double>(low);
  const auto mix = [&](int a, int b) { return static_cast<int>(std::lround(a + share * (b - a))); };
  return {mix(scale[low].red, scale[low + 1].red), mix(scale[low].green, scale[low + 1].green),
          mix(scale[low].blue, scale[low + 1].blue)};
}

std::string hex(const Colour& colour) {
  return fmt::format("#{:02x}{:02x}{:02x}", colour.red, colour.green, colour.blue);
}

bool is_dark(const Colour& colour) {
  return 0.299 * colour.red + 0.587 * colour.green + 0.114 * colour.blue < 140;
}

// One value per layer and column.
struct Map {
  std::string id;
  std::string title;
  std::string subtitle;
  std::string column_name;  // "head"
  int columns = 0;
  double widest_cell = 40;
  Scale scale;
  std::vector<double> values{};      // [layers, columns], in [0, 1]
  std::vector<std::string> notes{};  // [layers, columns] shown after the value, or empty
};

double cell_width(const Map& map) { return std::clamp(520.0 / map.columns, 9.0, map.widest_cell); }
double cells_width(const Map& map) { return cell_width(map) * map.columns; }
double map_width(const Map& map) {
  return kAxisWidth + std::max(kLeastMapWidth, cells_width(map) + kBarGap + kBarWidth + kBarLabels);
}
double cell_height(int layers) { return std::clamp(620.0 / layers, 9.0, 30.0); }

// Labels so far apart that they do not touch.
int label_step(double cell, double least) {
  int step = 1;
  while (step * cell < least) step *= 2;
  return step;
}

void add_cells(Svg& svg, const Map& map, int layers, double left, double top) {
  const double width = cell_width(map);
  const double height = cell_height(layers);
  const bool numbers = width >= 26 && height >= 14;
  for (int layer = 0; layer < layers; ++layer) {
    for (int column = 0; column < map.columns; ++column) {
      const std::size_t cell = static_cast<std::size_t>(layer) * map.columns + column;
      const double value = map.values[cell];
      const Colour fill = colour_at(map.scale, value);
      const double x = left + column * width;
      const double y = top + layer * height;
      svg.rect(x, y, width, height, hex(fill), "#ffffff",
               fmt::format("layer {}, {} {}: {:.3f}{}", layer, map.column_name, column, value,
                           map.notes.empty() ? "" : map.notes[cell]));
      if (numbers) {
        svg.text(x + width / 2, y + height / 2 + 3.8, 11, "middle",
                 is_dark(fill) ? "#ffffff" : Svg::kInk, fmt::format("{:.2f}", value),
                 R"( pointer-events="none")");
      }
    }
  }
  svg.rect(left, top, cells_width(map), height * layers, "none", Svg::kFrame);
}

void add_axes(Svg& svg, const Map& map, int layers, double left, double top) {
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

void add_bar(Svg& svg, const Map& map, int layers, double left, double top) {
  const double height = std::min(220.0, cell_height(layers) * layers);
  std::string gradient =
      fmt::format(R"(<linearGradient id="{}" x1="0" y1="1" x2="0" y2="0">)", map.id);
  for (std::size_t stop = 0; stop < map.scale.size(); ++stop) {
    gradient +=
        fmt::format(R"(<stop offset="{}%" stop-color="{}"/>)", 25 * stop, hex(map.scale[stop]));
  }
  svg.raw(gradient + "</linearGradient>\n");
  svg.rect(left, top, kBarWidth, height, fmt::format("url(#{})", map.id), Svg::kFrame);
  for (double value : {0.0, 0.5, 1.0}) {
    svg.text(left + kBarWidth + 5, top + height * (1 - value) + 4, 11, "start", Svg::kInk,
             fmt::format("{:.1f}", value));
  }
}

void add_map(Svg& svg, const Map& map, int layers, double left) {
  const double cells_left = left + kAxisWidth;
  const double top = kHeader + kMapTop;
  svg.text(left, kHeader + 8, 15, "start", Svg::kInk, map.title, R"( font-weight="600")");
  svg.text(left, kHeader + 26, 12, "start", Svg::kFaint, map.subtitle);
  add_cells(svg, map, layers, cells_left, top);
  add_axes(svg, map, layers, cells_left, top);
  add_bar(svg, map, layers, cells_left + cells_width(map) + kBarGap, top);
}

std::vector<Map> maps_of(const InspectReport& report) {
  Map sink{.id = "sink",
           .title = "Sink mass",
           .subtitle = "attention on position 0",
           .column_name = "q head",
           .columns = report.model.q_heads,
           .scale = kBlues};
  for (const HeadReport& head : report.heads) sink.values.push_back(head.sink_mass);
  Map routed{.id = "routed",
             .title = "Routed share",
             .subtitle = "tokens that read the kept set only",
             .column_name = "KV head",
             .columns = report.model.kv_heads,
             .widest_cell = 56,
             .scale = kGreens};
  Map read{.id = "read",
           .title = "Rows read",
           .subtitle = "share of the rows in the cache",
           .column_name = "KV head",
           .columns = report.model.kv_heads,
           .widest_cell = 56,
           .scale = kOranges};
  Map pinned{.id = "pinned",
             .title = "Pinned sinks",
             .subtitle = "attention on their blocks",
             .column_name = "KV head",
             .columns = report.model.kv_heads,
             .widest_cell = 56,
             .scale = kPurples,
             .values = std::vector<double>(report.groups.size()),
             .notes = std::vector<std::string>(report.groups.size())};
  for (const PinnedSink& one : report.pinned) {
    const std::size_t at = static_cast<std::size_t>(one.layer) * pinned.columns + one.kv_head;
    pinned.values[at] += one.mass;
    pinned.notes[at] += fmt::format(", {:.3f} from row {} on", one.mass, one.first_position);
  }
  for (const GroupReport& group : report.groups) {
    routed.values.push_back(group.routed_share);
    read.values.push_back(group.read_share);
  }
  return {sink, pinned, routed, read};
}

void add_header(Svg& svg, const InspectReport& report) {
  const PolicyOptions& policy = report.policy;
  svg.text(kMargin, 44, 21, "start", Svg::kInk,
           fmt::format("What the heads of {} do", report.model.name), R"( font-weight="600")");
  svg.text(
      kMargin, 67, 13, "start", Svg::kFaint,
      fmt::format("{} tokens of context, the last {} observed; policy {}, epsilon {:g}, "
                  "window {}",
                  report.context, report.tokens, name(policy.kind), policy.epsilon, policy.window));
  svg.text(kMargin, 86, 13, "start", Svg::kFaint,
           fmt::format("{:.0f}% of (head, token) pairs over 0.9 sink mass; KV read {:.1f}%, groups "
                       "routed {:.0f}%; unread mass {:.4f} on average, over epsilon in {:.1f}%",
                       100 * report.sunk_share, 100 * report.reads.kv_read_fraction(),
                       100 * report.reads.routed_fraction(), report.audit.unread_mass_mean,
                       100 * report.audit.over_epsilon));
  const AuditedHead& seen = report.engine_audit.total;
  if (seen.decisions == 0) return;
  svg.text(kMargin, 105, 13, "start", Svg::kFaint,
           fmt::format("the engine's audit of {} decisions: over epsilon in {:.1f}% (target "
                       "{:.0f}%), unread mass {:.4f} on average",
                       seen.decisions, 100 * seen.violation_rate(), 100 * kAuditTarget,
                       seen.unread_mass));
}

}  // namespace

std::string to_svg(const InspectReport& report) {
  constexpr double kHeaderWidth = 760;
  const std::vector<Map> maps = maps_of(report);
  const int layers = report.model.layers;
  double width = kMapGap * static_cast<double>(maps.size() - 1);
  for (const Map& map : maps) width += map_width(map);
  width = std::max(width, kHeaderWidth) + 2 * kMargin;
  const double height = kHeader + kMapTop + cell_height(layers) * layers + 30 + kMargin;

  Svg svg(width, height);
  add_header(svg, report);
  double left = kMargin;
  for (const Map& map : maps) {
    add_map(svg, map, layers, left);
    left += map_width(map) + kMapGap;
  }
  return std::move(svg).finish();
}

}  // namespace sinkrouter
