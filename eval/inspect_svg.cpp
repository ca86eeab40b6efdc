#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "eval/heat_map.h"
#include "eval/svg.h"
#include "sinkrouter/inspect.h"

namespace sinkrouter {
namespace {

constexpr double kHeader = 137;  // title and summary above the maps

std::vector<HeatMap> maps_of(const InspectReport& report) {
  HeatMap sink{.id = "sink",
               .title = "Sink mass",
               .subtitle = "attention on position 0",
               .column_name = "q head",
               .columns = report.model.q_heads,
               .colours = kBlues};
  for (const HeadReport& head : report.heads) sink.values.push_back(head.sink_mass);
  HeatMap routed{.id = "routed",
                 .title = "Routed share",
                 .subtitle = "tokens that read the kept set only",
                 .column_name = "KV head",
                 .columns = report.model.kv_heads,
                 .widest_cell = 56,
                 .colours = kGreens};
  HeatMap read{.id = "read",
               .title = "Rows read",
               .subtitle = "share of the rows in the cache",
               .column_name = "KV head",
               .columns = report.model.kv_heads,
               .widest_cell = 56,
               .colours = kOranges};
  HeatMap pinned{.id = "pinned",
                 .title = "Pinned sinks",
                 .subtitle = "attention on their blocks",
                 .column_name = "KV head",
                 .columns = report.model.kv_heads,
                 .widest_cell = 56,
                 .colours = kPurples};
  pinned.values.resize(report.groups.size());
  pinned.notes.resize(report.groups.size());
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
  svg.text(kPictureMargin, 44, 21, "start", Svg::kInk,
           fmt::format("What the heads of {} do", report.model.name), R"( font-weight="600")");
  svg.text(
      kPictureMargin, 67, 13, "start", Svg::kFaint,
      fmt::format("{} tokens of context, the last {} observed; policy {}, epsilon {:g}, "
                  "window {}",
                  report.context, report.tokens, name(policy.kind), policy.epsilon, policy.window));
  svg.text(kPictureMargin, 86, 13, "start", Svg::kFaint,
           fmt::format("{:.0f}% of (head, token) pairs over 0.9 sink mass; KV read {:.1f}%, groups "
                       "routed {:.0f}%; unread mass {:.4f} on average, over epsilon in {:.1f}%",
                       100 * report.sunk_share, 100 * report.reads.kv_read_fraction(),
                       100 * report.reads.routed_fraction(), report.audit.unread_mass_mean,
                       100 * report.audit.over_epsilon));
  const AuditedHead& seen = report.engine_audit.total;
  if (seen.decisions == 0) return;
  svg.text(kPictureMargin, 105, 13, "start", Svg::kFaint,
           fmt::format("the engine's audit of {} decisions: over epsilon in {:.1f}% (target "
                       "{:.0f}%), unread mass {:.4f} on average",
                       seen.decisions, 100 * seen.violation_rate(), 100 * kAuditTarget,
                       seen.unread_mass));
}

}  // namespace

std::string to_svg(const InspectReport& report) {
  constexpr double kHeaderWidth = 832;
  const std::vector<HeatMap> maps = maps_of(report);
  Svg svg(std::max(heat_maps_width(maps), kHeaderWidth),
          kHeader + heat_maps_height(report.model.layers));
  add_header(svg, report);
  draw_heat_maps(svg, maps, report.model.layers, kHeader);
  return std::move(svg).finish();
}

}  // namespace sinkrouter
