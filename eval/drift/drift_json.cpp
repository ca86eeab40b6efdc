#include "eval/json_fields.h"
#include "eval/whole_file.h"
#include "sinkrouter/drift.h"

namespace sinkrouter {

std::string to_json(const DriftResult& result) {
  Json json;
  add_policy(json, result.policy);
  add_reads(json, result.reads);
  json["model"] = result.model.name;
  json["device"] = result.device;
  json["context"] = result.context;
  json["target"] = as_written(kAuditTarget);
  json["violation_rate"] = result.violation_rate();
  json["segments"] = Json::array();
  for (const DriftSegment& segment : result.segments) {
    json["segments"].push_back({{"kind", segment.kind},
                                {"first", segment.first},
                                {"count", segment.count},
                                {"violation_rate", segment.violation_rate},
                                {"settled_violation_rate", segment.settled_violation_rate},
                                {"recovered_after", segment.recovered_after}});
  }
  json["steps"] = Json::array();
  for (const DriftStep& step : result.steps) {
    json["steps"].push_back({{"violation_rate", step.violation_rate},
                             {"unread_mass", step.unread_mass},
                             {"rows_read", step.rows_read},
                             {"tightening", step.tightening}});
  }
  return dumped(json);
}

void write_drift(const DriftResult& result, const std::filesystem::path& directory) {
  make_folder(directory);
  write_whole_file(directory / "drift.json", to_json(result) + "\n");
  write_whole_file(directory / "drift.svg", to_svg(result));
}

}  // namespace sinkrouter
