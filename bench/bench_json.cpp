#include "eval/json_fields.h"
#include "sinkrouter/bench.h"

namespace sinkrouter {

std::string to_json(const AttentionBenchResult& result) {
  const AttentionBenchOptions& options = result.options;
  Json json;
  json["device"] = result.device;
  json["shape"] = options.shape.name;
  json["q_heads"] = options.shape.q_heads;
  json["kv_heads"] = options.shape.kv_heads;
  json["head_dim"] = options.shape.head_dim;
  json["context"] = options.context;
  json["batch"] = options.batch;
  json["kv_dtype"] = std::string(name(options.kv_dtype));
  json["page_size"] = options.page_size;
  json["granule"] = options.granule;
  json["window"] = options.window;
  json["policy"] = result.policy;
  json["routed"] = options.routed;
  json["read"] = options.read;
  json["layers"] = result.layers;
  json["repetitions"] = result.repetitions;
  json["median_us"] = result.median_us;
  json["achieved_gb_per_s"] = result.achieved_gb_per_s;
  json["read_ceiling_gb_per_s"] = result.read_ceiling_gb_per_s;
  json["kv_read_fraction"] = result.kv_read_fraction;
  json["dense_median_us"] = result.dense_median_us;
  json["dense_gb_per_s"] = result.dense_gb_per_s;
  json["speedup"] = result.speedup();
  json["ideal_speedup"] = result.ideal_speedup();
  return dumped(json);
}

std::string to_json(const DecodeBenchResult& result) {
  Json json;
  json["device"] = result.device;
  json["shape"] = result.model.name;
  json["parameters"] = result.model.parameters;
  json["weight_bytes"] = result.model.weight_bytes;
  json["context"] = result.context;
  json["tokens"] = result.tokens;
  json["batch"] = 1;
  add_policy(json, result.policy);
  json["prefill_seconds"] = result.prefill_seconds;
  json["median_us"] = result.median_us;
  json["achieved_gb_per_s"] = result.achieved_gb_per_s;
  json["read_ceiling_gb_per_s"] = result.read_ceiling_gb_per_s;
  add_reads(json, result.reads);
  json["dense_median_us"] = result.dense_median_us;
  json["dense_gb_per_s"] = result.dense_gb_per_s;
  json["speedup"] = result.speedup();
  json["ideal_speedup"] = result.ideal_speedup;
  return dumped(json);
}

}  // namespace sinkrouter
