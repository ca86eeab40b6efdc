#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "sinkrouter/engine.h"
#include "sinkrouter/eval.h"

// Timings. Dense, routed and the machine's read ceiling are measured in turn within one run, so
// that a busy machine slows all of them alike; every figure is a median.
namespace sinkrouter {

struct AttentionShape {
  std::string name;
  int layers = 1;
  int q_heads = 0;
  int kv_heads = 0;
  int head_dim = 0;
};

std::span<const AttentionShape> known_attention_shapes();
const AttentionShape& attention_shape(std::string_view name);  // throws Error listing the names

// Decode attention over a random KV cache and random lists of a chosen size.
struct AttentionBenchOptions {
  AttentionShape shape;
  int context = 32768;
  int batch = 1;
  double routed = 0;  // share of groups that read the kept set only, in [0, 1]
  double read = 1;    // share of granules that the other groups read, in (0, 1]
  int window = 64;
  int granule = 32;
  bool router = false;  // time the scoring of every block too, and count its bytes
  DType kv_dtype = DType::kBF16;
  int page_size = 64;
  int threads = 0;
  double seconds = 4;  // of measuring, about
  std::uint64_t seed = 1;
};

struct AttentionBenchResult {
  AttentionBenchOptions options;
  std::string device{};
  std::string policy;  // "lists(routed=0.75, read=1)"
  int layers = 0;      // caches visited in turn, so that none stays in the CPU's own caches
  int repetitions = 0;
  double median_us = 0;  // of one layer
  double dense_median_us = 0;
  double achieved_gb_per_s = 0;
  double dense_gb_per_s = 0;
  double read_ceiling_gb_per_s = 0;
  double kv_read_fraction = 0;

  double speedup() const { return median_us > 0 ? dense_median_us / median_us : 0; }
  double ideal_speedup() const { return 1.0 / kv_read_fraction; }
};

AttentionBenchResult bench_attention(const AttentionBenchOptions& options,
                                     const Progress& progress = {});

// Whole decode steps of a model on a text, dense and policy in turn from forks of one prefill.
struct DecodeBenchOptions {
  PolicyOptions policy;
  int context = 32768;  // tokens prefilled
  int tokens = 64;      // decoded under each, the same ones
  int rounds = 8;
};

struct DecodeBenchResult {
  ModelInfo model;
  std::string device{};
  PolicyOptions policy;
  int context = 0;
  int tokens = 0;
  double prefill_seconds = 0;
  double median_us = 0;  // of one step
  double dense_median_us = 0;
  double achieved_gb_per_s = 0;  // weights and KV
  double dense_gb_per_s = 0;
  double read_ceiling_gb_per_s = 0;
  double ideal_speedup = 0;  // ratio of bytes, weights included
  ReadStats reads{};         // of the policy's steps

  double speedup() const { return median_us > 0 ? dense_median_us / median_us : 0; }
};

// `text` holds at least context + tokens tokens, the beginning-of-text token included.
DecodeBenchResult bench_decode(Engine& engine, std::span<const int> text,
                               const DecodeBenchOptions& options, const Progress& progress = {});
std::int64_t decode_bench_capacity(const DecodeBenchOptions& options, int page_size);

std::string to_json(const AttentionBenchResult& result);
std::string to_json(const DecodeBenchResult& result);

}  // namespace sinkrouter
