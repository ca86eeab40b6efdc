#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/box_bounds.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h, which includes this file once per instruction set.
#include <algorithm>

#include "kernels/cpu/vector-inl.h"
#include "kernels/paging.h"
#include "kernels/params.h"

HWY_BEFORE_NAMESPACE();
namespace sinkrouter::cpu::HWY_NAMESPACE {

// A few q heads at once, so that a box is decoded once for them.
template <int kHeads>
HWY_INLINE void bound_block(const BFloat16* box, const float* queries, int head_dim, float scale,
                            float* bounds, std::int64_t bound_stride) {
  FloatVec sums[kHeads];
  for (int h = 0; h < kHeads; ++h) sums[h] = hn::Zero(Floats());
  for (int c = 0; c < head_dim; c += kLanes) {
    const FloatVec least = load(box + c);
    const FloatVec largest = load(box + head_dim + c);
    for (int h = 0; h < kHeads; ++h) {
      const FloatVec along = hn::Mul(fill(scale), load(queries + h * head_dim + c));
      // Both bounds of a channel are NaN or neither is, so that Max cannot lose one.
      sums[h] = hn::Add(sums[h], hn::Max(hn::Mul(along, least), hn::Mul(along, largest)));
    }
  }
  for (int h = 0; h < kHeads; ++h) bounds[h * bound_stride] = sum_of_lanes(sums[h]);
}

void bound_blocks(const BoxBoundsParams& params, int sequence, int kv_head, int begin, int end) {
  const KvView& kv = params.kv;
  const int group = params.q_heads / kv.kv_heads;
  const std::int64_t first = std::int64_t{sequence} * params.q_heads + kv_head * group;
  for (int block = begin; block < end; ++block) {
    const BFloat16* box =
        params.boxes.bounds + moments_index(kv, sequence, kv_head, block) * 2 * kv.head_dim;
    const auto bound = [&]<int kHeads>(int head) {
      bound_block<kHeads>(
          box, params.queries + (first + head) * kv.head_dim, kv.head_dim, params.scale,
          params.bounds + (first + head) * params.bound_stride + block, params.bound_stride);
    };
    int head = 0;
    for (; head + 4 <= group; head += 4) bound.template operator()<4>(head);
    for (; head < group; ++head) bound.template operator()<1>(head);
  }
}

}  // namespace sinkrouter::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/spans.h"
#include "kernels/descriptors.h"

namespace sinkrouter::cpu {
namespace {
HWY_EXPORT(bound_blocks);
}  // namespace

void box_bounds(const BoxBoundsParams& params, ThreadPool& threads) {
  const KvView& kv = params.kv;
  require_kernel(KernelOp::kBoxBounds, "cpu", kv.dtype, kv.head_dim, params.q_heads / kv.kv_heads);
  constexpr int kBlocksPerTask = 256;
  const SpanGrid grid(kv, kBlockSize, kBlocksPerTask);
  threads.run(grid.tasks(), [&](int task, int) {
    const SpanGrid::Span span = grid.at(task);
    if (span.begin < span.end) {
      HWY_DYNAMIC_DISPATCH(bound_blocks)
      (params, span.sequence, span.kv_head, span.begin, span.end);
    }
  });
}

}  // namespace sinkrouter::cpu
#endif
