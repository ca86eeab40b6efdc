#include "backend/cpu/sink_search.h"

#include <algorithm>
#include <array>

#include "kernels/cpu/cpu.h"
#include "router/block_shares.h"
#include "router/sinks.h"

namespace sinkrouter::cpu {
namespace {

// Queries at the end of a prompt that are asked where they look.
constexpr int kQueries = 16;

PinnedBlocks pinned(const KeptSet& kept, std::span<const float> masses) {
  std::array<SinkBlock, kMaxPinnedBlocks> sinks;
  PinnedBlocks result;
  result.count = find_sinks(kept, masses, sinks);
  for (int i = 0; i < result.count; ++i) {
    result.blocks[i] = sinks[i].block;
    result.masses[i] = sinks[i].mass;
  }
  return result;
}

}  // namespace

void SinkSearch::run(KvCache& cache, SequenceId sequence, const PrefillAttention& call) {
  const int length = call.first_position + call.tokens;
  const int blocks = granule_count(length, kBlockSize);
  const int kv_heads = cache.config().kv_heads;
  const int group = call.q_heads / kv_heads;
  const int queries = std::min(kQueries, call.tokens);
  const std::int64_t scratch = block_shares_scratch(length);
  scratch_.reserve(threads_.size() * scratch);
  logits_.reserve(std::int64_t{call.q_heads} * length);
  masses_.reserve(std::int64_t{call.q_heads} * blocks);
  std::fill_n(masses_.data(), std::int64_t{call.q_heads} * blocks, 0.0f);

  RowLogitsParams params;
  params.q_heads = call.q_heads;
  params.scale = call.scale;
  params.kv = cache.view(call.layer, *call.tables);
  params.logits = logits_.data();
  params.logit_stride = length;
  for (int i = 0; i < queries; ++i) {
    const int token = call.tokens - queries + i;
    const std::int32_t visible = call.first_position + token + 1;
    params.queries = call.queries + std::int64_t{token} * call.q_heads * params.kv.head_dim;
    params.kv.lengths = &visible;
    row_logits(params, threads_);
    threads_.run(call.q_heads, [&](int head, int worker) {
      add_block_shares(logits_.data() + std::int64_t{head} * length, visible,
                       1.0f / static_cast<float>(queries * group),
                       scratch_.data() + worker * scratch,
                       masses_.data() + std::int64_t{head} * blocks);
    });
  }
  const KeptSet kept = make_kept_set(length, kBlockSize, 1);
  for (int kv_head = 0; kv_head < kv_heads; ++kv_head) {
    float* total = masses_.data() + std::int64_t{kv_head} * group * blocks;
    for (int member = 1; member < group; ++member) {
      const float* more = total + std::int64_t{member} * blocks;
      for (int block = 0; block < blocks; ++block) total[block] += more[block];
    }
    cache.pin(sequence, call.layer, kv_head,
              pinned(kept, {total, static_cast<std::size_t>(blocks)}));
  }
}

}  // namespace sinkrouter::cpu
