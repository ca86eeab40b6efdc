#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/block_scores.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h, which includes this file once per instruction set.
#include <algorithm>
#include <cmath>

#include "kernels/cpu/dot-inl.h"
#include "kernels/cpu/e4m3-inl.h"
#include "kernels/paging.h"
#include "kernels/params.h"

HWY_BEFORE_NAMESPACE();
namespace sinkrouter::cpu::HWY_NAMESPACE {

// A score is one dot product of length 2 d: (q, q^2) with (scale * mean, (scale * deviation)^2 /
// 2).
template <int kDim>
void score_blocks_as(const BlockScoresParams& params, int sequence, int kv_head, int begin,
                     int end) {
  constexpr int kHeadBlock = 16;
  constexpr int kLength = 2 * kDim;
  const KvView& kv = params.kv;
  const int group = params.q_heads / kv.kv_heads;
  const std::int64_t first = std::int64_t{sequence} * params.q_heads + kv_head * group;
  const float log_rows = std::log(static_cast<float>(kBlockSize));
  alignas(64) float queries[kHeadBlock * kLength];
  alignas(64) float moments[kDotRows * kLength];
  float products[kHeadBlock * kDotRows];

  for (int head = 0; head < group; head += kHeadBlock) {
    const int heads = std::min(kHeadBlock, group - head);
    for (int h = 0; h < heads; ++h) {
      const float* query = params.queries + (first + head + h) * kDim;
      for (int c = 0; c < kDim; ++c) {
        queries[h * kLength + c] = query[c];
        queries[h * kLength + kDim + c] = query[c] * query[c];
      }
    }
    for (int block = begin; block < end; block += kDotRows) {
      const float* rows[kDotRows];
      for (int r = 0; r < kDotRows; ++r) {
        const std::int64_t index =
            moments_index(kv, sequence, kv_head, std::min(block + r, end - 1));
        const std::uint8_t* codes = params.moments.codes + index * kLength;
        const float scale = 256.0f * params.scale * params.moments.scales[index];
        const FloatVec mean_scale = fill(scale);
        const FloatVec square_scale = fill(0.5f * scale * scale);
        float* row = moments + r * kLength;
        for (int c = 0; c < kDim; c += kLanes) {
          const FloatVec deviation = decode_e4m3(codes + kDim + c);
          store(hn::Mul(mean_scale, decode_e4m3(codes + c)), row + c);
          store(hn::Mul(hn::Mul(square_scale, deviation), deviation), row + kDim + c);
        }
        rows[r] = row;
      }
      dot_rows(rows, queries, kLength, heads, kLength, products, kDotRows);
      const int count = std::min(kDotRows, end - block);
      for (int h = 0; h < heads; ++h) {
        float* scores = params.scores + (first + head + h) * params.score_stride + block;
        for (int r = 0; r < count; ++r) scores[r] = log_rows + products[h * kDotRows + r];
      }
    }
  }
}

void score_blocks(const BlockScoresParams& params, int sequence, int kv_head, int begin, int end) {
  visit_int<64, 80, 96, 128>(params.kv.head_dim, [&]<int kDim>() {
    score_blocks_as<kDim>(params, sequence, kv_head, begin, end);
  });
}

}  // namespace sinkrouter::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/spans.h"
#include "kernels/descriptors.h"

namespace sinkrouter::cpu {
namespace {
HWY_EXPORT(score_blocks);
}  // namespace

void block_scores(const BlockScoresParams& params, ThreadPool& threads) {
  const KvView& kv = params.kv;
  require_kernel(KernelOp::kBlockScores, "cpu", kv.dtype, kv.head_dim,
                 params.q_heads / kv.kv_heads);
  constexpr int kBlocksPerTask = 256;
  const SpanGrid grid(kv, kBlockSize, kBlocksPerTask);
  threads.run(grid.tasks(), [&](int task, int) {
    const SpanGrid::Span span = grid.at(task);
    if (span.begin < span.end) {
      HWY_DYNAMIC_DISPATCH(score_blocks)
      (params, span.sequence, span.kv_head, span.begin, span.end);
    }
  });
}

}  // namespace sinkrouter::cpu
#endif
