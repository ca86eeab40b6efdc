#pragma once

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <string>

#include "sinkrouter/policy.h"
#include "sinkrouter/read_stats.h"

namespace sinkrouter {

using Json = nlohmann::ordered_json;

// Text that is not UTF-8 (half a character at the end of an answer) is replaced, not refused.
inline std::string dumped(const Json& json) {
  return json.dump(2, ' ', false, Json::error_handler_t::replace);
}

// The double a person would write for it: 0.05, not 0.05000000074505806.
inline double as_written(float value) { return std::stod(fmt::format("{}", value)); }

// The fields every report has about its policy and what it read.
inline void add_policy(Json& json, const PolicyOptions& policy) {
  json["policy"] = std::string(name(policy.kind));
  json["epsilon"] = as_written(policy.epsilon);
  json["window"] = policy.window;
  json["granule"] = policy.granule;
  json["audit_share"] = as_written(policy.audit_share);
  json["block_share"] = as_written(policy.block_share);
  json["tau"] = as_written(policy.tau);
  json["budget"] = as_written(policy.budget);
}

inline void add_reads(Json& json, const ReadStats& reads) {
  json["kv_read_fraction"] = reads.kv_read_fraction();
  json["router_read_fraction"] = reads.fraction_of_dense(reads.router_bytes);
  json["audit_read_fraction"] = reads.fraction_of_dense(reads.audit_bytes);
  json["routed_fraction"] = reads.routed_fraction();
}

}  // namespace sinkrouter
