#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/row_scores.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h, which includes this file once per instruction set.
#include "kernels/cpu/sketch_walk-inl.h"

HWY_BEFORE_NAMESPACE();
namespace sinkrouter::cpu::HWY_NAMESPACE {

// Stores logits as they are.
struct ScoreRows {
  HWY_INLINE void prefetch(std::int64_t) const {}
  HWY_INLINE void start_heads(std::int64_t first, int) {
    stride = params.score_stride;
    of_heads = params.scores + first * stride;
  }
  HWY_INLINE void start_block(int j, std::int64_t) {
    scores = of_heads + std::int64_t{j} * kBlockSize;
  }
  HWY_INLINE void put(int head, int row, FloatVec logits) const {
    store(logits, scores + head * stride + row);
  }

  const RowScoresParams& params;
  std::int64_t stride = 0;  // a copy: what is stored might be thought to change params
  float* of_heads = nullptr;
  float* scores = nullptr;  // of the block in hand
};

void score_listed(const RowScoresParams& params, int sequence, int kv_head, int begin, int end) {
  visit_int<2, 4>(params.sketches.bits, [&]<int kBits>() {
    ScoreRows rows{params};
    walk_listed<kBits>(params, sequence, kv_head, begin, end, sketch_noise(kBits), rows);
  });
}

}  // namespace sinkrouter::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/listed_blocks.h"

namespace sinkrouter::cpu {
namespace {
HWY_EXPORT(score_listed);
}  // namespace

void row_scores(const RowScoresParams& params, ThreadPool& threads) {
  for_listed_blocks(KernelOp::kRowScores, params, threads,
                    [&](int sequence, int kv_head, int begin, int end) {
                      HWY_DYNAMIC_DISPATCH(score_listed)(params, sequence, kv_head, begin, end);
                    });
}

}  // namespace sinkrouter::cpu
#endif
