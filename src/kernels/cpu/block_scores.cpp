#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/block_scores.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h, which includes this file once per instruction set.
#include <algorithm>
#include <numbers>
#include <utility>

#include "kernels/cpu/dot-inl.h"
#include "kernels/cpu/e4m3-inl.h"
#include "kernels/paging.h"
#include "kernels/params.h"

HWY_BEFORE_NAMESPACE();
namespace sinkrouter::cpu::HWY_NAMESPACE {

inline constexpr int kHeadBlock = 16;

// Moments of kDotRows blocks as scores are made of them: a score is one dot product of length 2 d,
// of (q, q^2) with (mean, deviation^2), times a factor.
template <int kDim>
class MomentTile {
 public:
  static constexpr int kLength = 2 * kDim;

  // Blocks from `block` on; past the last of `end` that one again. Calls for those of later tiles.
  HWY_INLINE void decode(const MomentsView& moments, const MomentPlaces& places, float scale,
                         int block, int end) {
    constexpr int kAhead = 24;
    for (int r = 0; r < kDotRows; ++r) {
      const std::int64_t index = places.index(std::min(block + r, end - 1));
      const std::int64_t coming = places.index(std::min(block + kAhead + r, end - 1));
      for (int byte = 0; byte < kLength; byte += 64) {
        __builtin_prefetch(moments.codes + coming * kLength + byte, 0, 3);
      }
      __builtin_prefetch(moments.scales + coming, 0, 3);
      const std::uint8_t* codes = moments.codes + index * kLength;
      factors_[r] = kE4M3Factor * scale * moments.scales[index];
      float* row = rows_ + r * kLength;
      decode_moments<kDim>(codes, codes + kDim, fill(0.5f * factors_[r]), row, row + kDim);
    }
  }

  // scores[h * stride + r] for `heads` queries and the first `count` blocks.
  HWY_INLINE void score(const float* queries,  // [heads, kLength]
                        int heads, int count, float* scores, std::int64_t stride) const {
    const hn::Full128<float> four;
    const float* rows[kDotRows];
    for (int r = 0; r < kDotRows; ++r) rows[r] = rows_ + r * kLength;
    alignas(64) float products[kHeadBlock * kDotRows];
    dot_rows(rows, queries, kLength, heads, kLength, products, kDotRows);
    const auto factors = hn::Load(four, factors_);
    const auto log_rows = hn::Set(four, kLogRows);
    for (int h = 0; h < heads; ++h) {
      float* of_head = products + h * kDotRows;
      const auto score = hn::MulAdd(factors, hn::Load(four, of_head), log_rows);
      if (count == kDotRows) {
        hn::StoreU(score, four, scores + h * stride);
      } else {
        hn::Store(score, four, of_head);
        std::copy_n(of_head, count, scores + h * stride);
      }
    }
  }

 private:
  static constexpr float kLogRows = 5 * std::numbers::ln2_v<float>;
  static_assert(kBlockSize == 1 << 5);

  alignas(64) float rows_[kDotRows * kLength];
  alignas(16) float factors_[kDotRows];
};

// A tile is decoded while the one before it is scored, or the time that decoding takes would pass
// twice.
template <int kDim>
void score_blocks_as(const BlockScoresParams& params, int sequence, int kv_head, int begin,
                     int end) {
  constexpr int kLength = MomentTile<kDim>::kLength;
  const KvView& kv = params.kv;
  const int group = params.q_heads / kv.kv_heads;
  const std::int64_t first = std::int64_t{sequence} * params.q_heads + kv_head * group;
  const MomentPlaces places(kv, sequence, kv_head);
  alignas(64) float queries[kHeadBlock * kLength];
  MomentTile<kDim> tiles[2];

  for (int head = 0; head < group; head += kHeadBlock) {
    const int heads = std::min(kHeadBlock, group - head);
    for (int h = 0; h < heads; ++h) {
      const float* query = params.queries + (first + head + h) * kDim;
      for (int c = 0; c < kDim; c += kLanes) {
        const FloatVec x = load(query + c);
        store(x, queries + h * kLength + c);
        store(hn::Mul(x, x), queries + h * kLength + kDim + c);
      }
    }
    float* scores = params.scores + (first + head) * params.score_stride;
    MomentTile<kDim>* now = &tiles[0];
    MomentTile<kDim>* next = &tiles[1];
    now->decode(params.moments, places, params.scale, begin, end);
    for (int block = begin; block < end; block += kDotRows) {
      const int after = block + kDotRows;
      if (after < end) next->decode(params.moments, places, params.scale, after, end);
      now->score(queries, heads, std::min(kDotRows, end - block), scores + block,
                 params.score_stride);
      std::swap(now, next);
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
  // All heads of a span follow one another: their codes lie side by side in each page.
  constexpr int kBlocksPerTask = 256;
  KvView pages = kv;
  pages.kv_heads = 1;
  const SpanGrid grid(pages, kBlockSize, std::max(32, kBlocksPerTask / kv.kv_heads));
  threads.run(grid.tasks(), [&](int task, int) {
    const SpanGrid::Span span = grid.at(task);
    for (int kv_head = 0; kv_head < kv.kv_heads && span.begin < span.end; ++kv_head) {
      HWY_DYNAMIC_DISPATCH(score_blocks)(params, span.sequence, kv_head, span.begin, span.end);
    }
  });
}

}  // namespace sinkrouter::cpu
#endif
