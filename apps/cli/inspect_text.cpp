#include "inspect_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "policy_spec.h"
#include "table.h"

namespace sinkrouter::cli {
namespace {

constexpr std::size_t kMostShown = 10;

std::string layer_table(const InspectReport& report) {
  Table table({"layer", "sink mass", "heads sunk", "groups routed", "rows read", "unread mass"});
  const int q_heads = report.model.q_heads;
  const int kv_heads = report.model.kv_heads;
  for (int layer = 0; layer < report.model.layers; ++layer) {
    double sink = 0;
    double sunk = 0;
    double unread = 0;
    for (int head = 0; head < q_heads; ++head) {
      const HeadReport& one = report.heads[static_cast<std::size_t>(layer) * q_heads + head];
      sink += one.sink_mass / q_heads;
      sunk += one.sunk_share / q_heads;
      unread += one.unread_mass / q_heads;
    }
    double routed = 0;
    double read = 0;
    for (int head = 0; head < kv_heads; ++head) {
      const GroupReport& one = report.groups[static_cast<std::size_t>(layer) * kv_heads + head];
      routed += one.routed_share / kv_heads;
      read += one.read_share / kv_heads;
    }
    table.add({fmt::format("{}", layer), fmt::format("{:.3f}", sink), percent(sunk),
               percent(routed), percent(read), fmt::format("{:.5f}", unread)});
  }
  return table.text();
}

// The heaviest first, no more than are worth a look.
template <typename Sink>
std::vector<Sink> strongest(std::vector<Sink> sinks) {
  std::ranges::stable_sort(sinks, [](const Sink& a, const Sink& b) { return a.mass > b.mass; });
  sinks.resize(std::min(sinks.size(), kMostShown));
  return sinks;
}

std::string sink_table(const InspectReport& report) {
  Table table({"strongest sinks", "layer", "KV head", "mean mass"});
  for (const SinkReport& sink : strongest(report.sinks)) {
    table.add({fmt::format("{} {}", sink.position, escaped(sink.token)),
               fmt::format("{}", sink.layer), fmt::format("{}", sink.kv_head),
               fmt::format("{:.3f}", sink.mass)});
  }
  return table.text();
}

std::string pinned_table(const InspectReport& report) {
  if (report.pinned.empty()) return "the engine pinned no block\n";
  Table table({"pinned by the engine", "from row", "layer", "KV head", "mean mass"});
  for (const PinnedSink& sink : strongest(report.pinned)) {
    table.add({fmt::format("block {}", sink.block), fmt::format("{}", sink.first_position),
               fmt::format("{}", sink.layer), fmt::format("{}", sink.kv_head),
               fmt::format("{:.3f}", sink.mass)});
  }
  return table.text();
}

std::string audit_table(const AuditSummary& audit) {
  const AuditedHead& seen = audit.total;
  if (seen.decisions == 0) return "the engine audited nothing\n";
  std::string text = fmt::format(
      "the engine's own audit, {} decisions: over epsilon in {} (target {}); unread mass: mean "
      "{:.5f}, largest {:.4f}\noutput error of {} of them: mean {:.5f}\n\n",
      seen.decisions, percent(seen.violation_rate()), percent(kAuditTarget), seen.unread_mass,
      seen.largest_unread_mass, seen.outputs, seen.output_error);
  std::vector<AuditedHead> heads = audit.heads;
  std::ranges::stable_sort(heads, {}, &AuditedHead::tightening);
  heads.resize(std::min(heads.size(), kMostShown));
  Table table({"most tightened", "KV head", "bound times", "audited", "over epsilon", "unread mass",
               "largest"});
  for (const AuditedHead& head : heads) {
    table.add({fmt::format("layer {}", head.layer), fmt::format("{}", head.kv_head),
               fmt::format("{:.3f}", head.tightening), fmt::format("{}", head.decisions),
               percent(head.violation_rate()), fmt::format("{:.5f}", head.unread_mass),
               fmt::format("{:.4f}", head.largest_unread_mass)});
  }
  return text + table.text();
}

}  // namespace

std::string to_text(const InspectReport& report) {
  const AuditReport& exact = report.audit;
  return fmt::format(
      "{}, {}\nlast {} of {} tokens under {}: KV read {}, groups routed {}\n"
      "{} of (layer, head, token) have over 0.9 of their mass on position 0\n"
      "unread mass: mean {:.5f}, 95% below {:.5f}, largest {:.4f}; over epsilon {:g} in {}\n\n"
      "{}\n{}\n{}\n{}",
      report.model.name, report.device, report.tokens, report.context, to_spec(report.policy),
      percent(report.reads.kv_read_fraction()), percent(report.reads.routed_fraction()),
      percent(report.sunk_share), exact.unread_mass_mean, exact.unread_mass_p95,
      exact.unread_mass_max, report.policy.epsilon, percent(exact.over_epsilon),
      layer_table(report), sink_table(report), pinned_table(report),
      audit_table(report.engine_audit));
}

}  // namespace sinkrouter::cli
