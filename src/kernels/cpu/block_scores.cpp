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

// A score is one dot product of length 2 d: (q, q^2) with (mean, deviation^2), both less their
// scales.
template <int kDim>
void score_blocks_as(const BlockScoresParams& params, int sequence, int kv_head, int begin,
                     int end) {
  constexpr int kHeadBlock = 16;
  constexpr int kLength = 2 * kDim;
  constexpr int kAhead = 24;  // blocks between calling for codes and using them
  const KvView& kv = params.kv;
  const int group = params.q_heads / kv.kv_heads;
  const std::int64_t first = std::int64_t{sequence} * params.q_heads + kv_head * group;
  const float log_rows = std::log(static_cast<float>(kBlockSize));
  const MomentPlaces places(kv, sequence, kv_head);
  const float factor = kE4M3Factor * params.scale;
  const hn::Full128<float> four;
  alignas(64) float queries[kHeadBlock * kLength];
  alignas(64) float moments[kDotRows * kLength];
  alignas(64) float products[kHeadBlock * kDotRows];

  for (int head = 0; head < group; head += kHeadBlock) {
    const int heads = std::min(kHeadBlock, group - head);
    for (int h = 0; h < heads; ++h) {
      const float* query = params.queries + (first + head + h) * kDim;
      float* to = queries + h * kLength;
      for (int c = 0; c < kDim; ++c) {
        to[moment_index(c, kDim)] = query[c];
        to[kDim + moment_index(c, kDim)] = query[c] * query[c];
      }
    }
    const float* rows[kDotRows];
    for (int r = 0; r < kDotRows; ++r) rows[r] = moments + r * kLength;
    for (int block = begin; block < end; block += kDotRows) {
      alignas(16) float scales[kDotRows];
      for (int r = 0; r < kDotRows; ++r) {
        const std::int64_t index = places.index(std::min(block + r, end - 1));
        const std::int64_t coming = places.index(std::min(block + kAhead + r, end - 1));
        for (int byte = 0; byte < kLength; byte += 64) {
          __builtin_prefetch(params.moments.codes + coming * kLength + byte, 0, 3);
        }
        __builtin_prefetch(params.moments.scales + coming, 0, 3);
        const std::uint8_t* codes = params.moments.codes + index * kLength;
        scales[r] = factor * params.moments.scales[index];
        float* row = moments + r * kLength;
        decode_moments<kDim>(codes, codes + kDim, row, row + kDim);
        const FloatVec half_scale = fill(0.5f * scales[r]);
        for (int c = kDim; c < kLength; c += kLanes)
          store(hn::Mul(half_scale, load(row + c)), row + c);
      }
      dot_rows(rows, queries, kLength, heads, kLength, products, kDotRows);
      const auto scale = hn::Load(four, scales);
      const int count = std::min(kDotRows, end - block);
      for (int h = 0; h < heads; ++h) {
        float* scores = params.scores + (first + head + h) * params.score_stride + block;
        const auto score =
            hn::MulAdd(scale, hn::Load(four, products + h * kDotRows), hn::Set(four, log_rows));
        if (count == kDotRows) {
          hn::StoreU(score, four, scores);
        } else {
          hn::Store(score, four, products + h * kDotRows);
          std::copy_n(products + h * kDotRows, count, scores);
        }
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
