#include "eval/fixed_point/json.h"

namespace sinkrouter {
namespace {

Json to_json(const Spread& spread) { return {{"median", spread.median}, {"p95", spread.p95}}; }

Json or_null(const std::optional<double>& value) { return value ? Json(*value) : Json(nullptr); }

Json to_json(const HeadEffect& head) {
  return {{"layer", head.layer},
          {"head", head.head},
          {"kv_head", head.kv_head},
          {"dormant_share", head.dormant_share},
          {"sink_mass", head.sink_mass},
          {"sink_value_of_mean", head.sink_value_of_mean},
          {"sink_of_mean", head.sink_of_mean},
          {"sink_of_residual", head.sink_of_residual},
          {"dormant_of_residual", or_null(head.dormant_of_residual)},
          {"awake_of_residual", or_null(head.awake_of_residual)}};
}

Json to_json(const NoiseEffect& noise) {
  return {{"direction", std::string(name(noise.direction))},
          {"size", noise.size},
          {"decisions", noise.decisions},
          {"sink_mass", to_json(noise.sink_mass)},
          {"output", to_json(noise.output)},
          {"still_dormant", noise.still_dormant}};
}

Json to_json(const BoundCheck& check) {
  return {{"decisions", check.decisions},         {"within_bound", check.within_bound},
          {"largest_ratio", check.largest_ratio}, {"ratio", to_json(check.ratio)},
          {"bound", to_json(check.bound)},        {"error", to_json(check.error)}};
}

Json to_json(const ErrorControl& control) {
  return {{"rows", std::string(name(control.rows))},
          {"decisions", control.decisions},
          {"unread_mass", to_json(control.unread_mass)},
          {"output", to_json(control.output)},
          {"stream", to_json(control.stream)}};
}

template <typename T>
Json list_of(const std::vector<T>& items) {
  Json list = Json::array();
  for (const T& item : items) list.push_back(to_json(item));
  return list;
}

}  // namespace

Json to_json(const FixedPointReport& report) {
  return {{"tokens", report.tokens},
          {"dormant_mass", kDormantMass},
          {"dormant_share", report.dormant_share},
          {"residual_norms", report.residual_norms},
          {"reachable", list_of(report.heads)},
          {"stable", list_of(report.noise)},
          {"error_controllable", list_of(report.errors)},
          {"engine_difference", report.engine_difference}};
}

}  // namespace sinkrouter
