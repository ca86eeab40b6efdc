#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "bench/memory_read.h"
#include "bench/random_cache.h"
#include "bench/random_lists.h"
#include "eval/clock.h"
#include "kernels/cpu/cpu.h"
#include "kernels/descriptors.h"
#include "router/traffic.h"
#include "sinkrouter/bench.h"

namespace sinkrouter {
namespace {

constexpr std::int64_t kFootprint = std::int64_t{512} << 20;
constexpr int kFewestRepetitions = 5;

void check(const AttentionBenchOptions& options) {
  const AttentionShape& shape = options.shape;
  SR_CHECK(shape.q_heads >= 1 && shape.kv_heads >= 1 && shape.q_heads % shape.kv_heads == 0 &&
               shape.q_heads <= 4096 && shape.layers >= 1,
           kInvalidArgument, "{} q heads and {} KV heads: q heads must be a multiple of KV heads",
           shape.q_heads, shape.kv_heads);
  require_kernel(KernelOp::kDecodeAttention, "cpu", options.kv_dtype, shape.head_dim,
                 shape.q_heads / shape.kv_heads);
  SR_CHECK(options.context >= 1 && options.context <= (1 << 26), kInvalidArgument,
           "context is {}; it must be between 1 and {}", options.context, 1 << 26);
  SR_CHECK(options.batch >= 1 && options.batch <= 4096, kInvalidArgument,
           "batch is {}; it must be between 1 and 4096", options.batch);
  SR_CHECK(options.routed >= 0 && options.routed <= 1, kInvalidArgument,
           "routed is {}; it must be between 0 and 1", options.routed);
  SR_CHECK(options.read >= 0 && options.read <= 1, kInvalidArgument,
           "read is {}; it must be between 0 and 1", options.read);
  SR_CHECK(options.seconds > 0 && options.seconds <= 3600, kInvalidArgument,
           "seconds is {}; it must be above 0 and at most 3600", options.seconds);
  PolicyOptions policy;
  policy.kind = PolicyKind::kStreaming;  // whose lists may have any granule
  policy.window = options.window;
  policy.granule = options.granule;
  validate(policy, options.page_size);
}

std::int64_t layer_bytes(const AttentionBenchOptions& options) {
  return row_bytes(std::int64_t{options.context} * options.shape.kv_heads * options.batch,
                   options.shape.head_dim, size_in_bytes(options.kv_dtype));
}

int layers_for(const AttentionBenchOptions& options) {
  return static_cast<int>(
      std::clamp<std::int64_t>(kFootprint / layer_bytes(options), 1, options.shape.layers));
}

// One layer's attention after another, over given lists.
class Attention {
 public:
  Attention(const AttentionBenchOptions& options, const RandomCache& cache, ThreadPool& threads)
      : cache_(cache), threads_(threads), q_heads_(options.shape.q_heads) {
    const std::int64_t queries = std::int64_t{options.batch} * q_heads_;
    const std::int64_t numbers = queries * options.shape.head_dim;
    queries_.reserve(static_cast<std::size_t>(numbers));
    Rng rng(options.seed + 1);
    for (std::int64_t i = 0; i < numbers; ++i) queries_.push_back(rng.normal());
    output_.resize(static_cast<std::size_t>(numbers));
    lse_.resize(static_cast<std::size_t>(queries));
    workspace_bytes_ = cpu::decode_attention_workspace(
        options.batch, q_heads_, options.shape.kv_heads, options.shape.head_dim, threads.size());
    workspace_ = scratch_.reserve(workspace_bytes_);
    score_stride_ = options.context / kBlockSize + 1;
    if (options.router) scores_.resize(static_cast<std::size_t>(queries * score_stride_));
    scale_ = 1.0f / std::sqrt(static_cast<float>(options.shape.head_dim));
  }

  double pass(const GranuleLists& lists, bool router) {
    const Clock clock;
    for (int layer = 0; layer < cache_.layers(); ++layer) {
      const KvView kv = cache_.view(layer);
      if (router) {
        cpu::block_scores({.queries = queries_.data(),
                           .q_heads = q_heads_,
                           .scale = scale_,
                           .kv = kv,
                           .moments = cache_.moments(layer),
                           .scores = scores_.data(),
                           .score_stride = score_stride_},
                          threads_);
      }
      cpu::decode_attention({.queries = queries_.data(),
                             .q_heads = q_heads_,
                             .scale = scale_,
                             .kv = kv,
                             .lists = lists,
                             .output = output_.data(),
                             .lse = lse_.data(),
                             .workspace = workspace_,
                             .workspace_bytes = workspace_bytes_},
                            threads_);
    }
    return clock.seconds();
  }

 private:
  const RandomCache& cache_;
  ThreadPool& threads_;
  int q_heads_;
  float scale_ = 0;
  std::vector<float> queries_;  // [batch, q_heads, head_dim]
  std::vector<float> output_;   // likewise
  std::vector<float> lse_;      // [batch, q_heads]
  std::vector<float> scores_;   // [batch, q_heads, score_stride]
  std::int64_t score_stride_ = 0;
  cpu::Scratch scratch_;
  void* workspace_ = nullptr;
  std::int64_t workspace_bytes_ = 0;
};

std::string list_label(const AttentionBenchOptions& options) {
  std::string label = fmt::format("lists:routed={:g}:read={:g}", options.routed, options.read);
  if (options.router) label += ":router";
  return label;
}

}  // namespace

AttentionBenchResult bench_attention(const AttentionBenchOptions& options,
                                     const Progress& progress) {
  check(options);
  const int kv_heads = options.shape.kv_heads;
  AttentionBenchResult result{.options = options, .policy = list_label(options)};
  result.layers = layers_for(options);
  ThreadPool threads(options.threads);
  result.device = fmt::format("cpu {}, {} threads", cpu::instruction_set(), threads.size());
  const RandomCache cache(options, result.layers, progress);
  MemoryRead memory(result.layers * layer_bytes(options), options.seed + 2);
  RandomLists dense_lists({.granule = options.page_size}, options.batch, kv_heads, options.context,
                          options.seed);
  RandomLists lists({.routed = options.routed,
                     .read = options.read,
                     .window = options.window,
                     .granule = options.granule},
                    options.batch, kv_heads, options.context, options.seed);
  Attention attention(options, cache, threads);

  std::vector<double> read_seconds;
  std::vector<double> dense_seconds;
  std::vector<double> list_seconds;
  const Clock clock;
  for (int repetition = -1;; ++repetition) {  // the first warms everything up
    const double spent = clock.seconds();
    if (repetition >= kFewestRepetitions && spent > options.seconds) break;
    if (progress) progress("measuring", std::min(1.0, spent / options.seconds));
    const double read = memory.pass(threads);
    const double dense = attention.pass(dense_lists.view(), false);
    const double routed = attention.pass(lists.view(), options.router);
    if (repetition < 0) continue;
    read_seconds.push_back(read);
    dense_seconds.push_back(dense);
    list_seconds.push_back(routed);
  }

  const double dense_bytes = static_cast<double>(layer_bytes(options));
  double bytes = static_cast<double>(
      row_bytes(lists.rows(), options.shape.head_dim, size_in_bytes(options.kv_dtype)));
  if (options.router) {
    bytes += static_cast<double>(moments_bytes(options.context, options.shape.head_dim)) *
             kv_heads * options.batch;
  }
  result.repetitions = static_cast<int>(dense_seconds.size());
  result.median_us = median(list_seconds) * 1e6 / result.layers;
  result.dense_median_us = median(dense_seconds) * 1e6 / result.layers;
  result.achieved_gb_per_s = bytes / result.median_us * 1e-3;
  result.dense_gb_per_s = dense_bytes / result.dense_median_us * 1e-3;
  result.read_ceiling_gb_per_s = static_cast<double>(memory.bytes()) / median(read_seconds) * 1e-9;
  result.kv_read_fraction = bytes / dense_bytes;
  return result;
}

}  // namespace sinkrouter
