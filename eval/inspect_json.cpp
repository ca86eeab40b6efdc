#include "eval/fixed_point/json.h"
#include "eval/json_fields.h"
#include "sinkrouter/inspect.h"

namespace sinkrouter {
namespace {

Json audited(const AuditedHead& seen) {
  return {{"decisions", seen.decisions},
          {"violation_rate", seen.violation_rate()},
          {"unread_mass_mean", seen.unread_mass},
          {"unread_mass_max", seen.largest_unread_mass},
          {"outputs", seen.outputs},
          {"output_error_mean", seen.output_error},
          {"tightening", seen.tightening}};
}

Json audited(const AuditSummary& summary) {
  Json json = {{"target", as_written(kAuditTarget)}};
  json.update(audited(summary.total));
  json["heads"] = Json::array();
  for (const AuditedHead& head : summary.heads) {
    Json one = {{"layer", head.layer}, {"kv_head", head.kv_head}};
    one.update(audited(head));
    json["heads"].push_back(std::move(one));
  }
  return json;
}

Json pinned(const PinnedSink& sink) {
  return {{"layer", sink.layer},
          {"kv_head", sink.kv_head},
          {"block", sink.block},
          {"first_position", sink.first_position},
          {"mass", sink.mass}};
}

}  // namespace

std::string to_json(const InspectReport& report) {
  Json json;
  json["model"] = report.model.name;
  json["device"] = report.device;
  json["layers"] = report.model.layers;
  json["q_heads"] = report.model.q_heads;
  json["kv_heads"] = report.model.kv_heads;
  json["head_dim"] = report.model.head_dim;
  add_policy(json, report.policy);
  json["context"] = report.context;
  json["tokens"] = report.tokens;
  json["sunk_share"] = report.sunk_share;
  add_reads(json, report.reads);
  json["audit"] = {{"decisions", report.audit.decisions},
                   {"unread_mass_mean", report.audit.unread_mass_mean},
                   {"unread_mass_p95", report.audit.unread_mass_p95},
                   {"unread_mass_max", report.audit.unread_mass_max},
                   {"over_epsilon", report.audit.over_epsilon}};
  json["engine_audit"] = audited(report.engine_audit);
  json["sinks"] = Json::array();
  for (const SinkReport& sink : report.sinks) {
    json["sinks"].push_back({{"layer", sink.layer},
                             {"kv_head", sink.kv_head},
                             {"position", sink.position},
                             {"token", sink.token},
                             {"mass", sink.mass}});
  }
  json["pinned"] = Json::array();
  for (const PinnedSink& sink : report.pinned) json["pinned"].push_back(pinned(sink));
  json["heads"] = Json::array();
  for (const HeadReport& head : report.heads) {
    const GroupReport& group =
        report.groups[static_cast<std::size_t>(head.layer) * report.model.kv_heads + head.kv_head];
    json["heads"].push_back({{"layer", head.layer},
                             {"head", head.head},
                             {"kv_head", head.kv_head},
                             {"sink_mass", head.sink_mass},
                             {"sink_block_mass", head.sink_block_mass},
                             {"sunk_share", head.sunk_share},
                             {"unread_mass", head.unread_mass},
                             {"unread_mass_max", head.unread_mass_max},
                             {"over_epsilon", head.over_epsilon},
                             {"routed_share", group.routed_share},
                             {"read_share", group.read_share}});
  }
  if (report.fixed_point) json["fixed_point"] = to_json(*report.fixed_point);
  return dumped(json);
}

}  // namespace sinkrouter
