#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/prefill_attention.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h, which includes this file once per instruction set.
#include "kernels/cpu/prefill_tile-inl.h"

#if HWY_ONCE
#include <algorithm>

#include "base/check.h"
#include "kernels/cpu/cpu.h"
#include "kernels/descriptors.h"

namespace sinkrouter::cpu {
namespace {

HWY_EXPORT(attend_block);

constexpr int kMostRows = 256;  // per task: amortises packing a tile
constexpr int kLeastRows = 64;
constexpr int kTasksPerThread = 4;

int tokens_per_block(const PrefillAttentionParams& params, int threads) {
  const int group = params.q_heads / params.kv.kv_heads;
  int rows = kMostRows;
  const auto tasks = [&] { return std::int64_t{params.tokens} * params.q_heads / rows; };
  while (rows > kLeastRows && tasks() < std::int64_t{threads} * kTasksPerThread) rows /= 2;
  return std::max(1, rows / group);
}

}  // namespace

void prefill_attention(const PrefillAttentionParams& params, ThreadPool& threads,
                       Scratch& scratch) {
  const KvView& kv = params.kv;
  SR_ASSERT(kv.kv_heads > 0 && params.q_heads % kv.kv_heads == 0);
  if (params.tokens <= 0) return;
  SR_ASSERT(params.first_position >= 0 &&
            kv.lengths[0] >= std::int64_t{params.first_position} + params.tokens);
  const int group = params.q_heads / kv.kv_heads;
  require_kernel(KernelOp::kPrefillAttention, "cpu", kv.dtype, kv.head_dim, group);
  const int block_tokens = tokens_per_block(params, threads.size());
  const int blocks = (params.tokens + block_tokens - 1) / block_tokens;
  const std::int64_t floats =
      PrefillScratch::floats(padded_rows(block_tokens * group), kv.head_dim);
  auto* memory = static_cast<float*>(
      scratch.reserve(threads.size() * floats * static_cast<std::int64_t>(sizeof(float))));
  // The last tokens see the most keys: start with them.
  threads.run(blocks * kv.kv_heads, [&](int task, int worker) {
    PrefillBlock block;
    block.kv_head = task % kv.kv_heads;
    block.token = (blocks - 1 - task / kv.kv_heads) * block_tokens;
    block.tokens = std::min(block_tokens, params.tokens - block.token);
    HWY_DYNAMIC_DISPATCH(attend_block)(params, block, memory + worker * floats);
  });
}

}  // namespace sinkrouter::cpu
#endif
