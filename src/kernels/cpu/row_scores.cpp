#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/row_scores.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h, which includes this file once per instruction set.
#include <hwy/cache_control.h>

#include <algorithm>
#include <bit>

#include "kernels/cpu/dot-inl.h"
#include "kernels/cpu/e4m3-inl.h"
#include "kernels/cpu/sketch_shapes.h"
#include "kernels/cpu/sketch_tile-inl.h"
#include "kernels/params.h"

HWY_BEFORE_NAMESPACE();
namespace sinkrouter::cpu::HWY_NAMESPACE {

inline constexpr int kHeadBlock = 16;  // q heads whose factors are kept at once
inline constexpr int kTileHeads = kManyRegisters ? 8 : 4;
inline constexpr int kTileVectors = 2;
inline constexpr int kAhead = 4;  // blocks between fetching and using
static_assert(kBlockSize % (kTileVectors * kLanes) == 0);

// What turns products into scores, head by head: with p = shift + sum_i x_i c_i and s the row's
// scale, the score is mean + s * (step * p + rest + noise * s). shift is a whole number, so that
// p is exact; rest is what that leaves.
struct HeadFactors {
  std::int32_t shift[kHeadBlock];
  float step[kHeadBlock];
  float rest[kHeadBlock];
  float noise[kHeadBlock];
  float queries[kHeadBlock * kMostSketchDim];  // [heads, head_dim], as block means meet them
};

// Heads are rounded up to whole tiles of dot_tile() by heads of zeros.
HWY_INLINE void prepare_heads(const RowScoresParams& params, std::int64_t first, int heads,
                              HeadFactors& factors) {
  const int dim = params.kv.head_dim;
  const int bits = params.sketches.bits;
  const FloatVec mean_scale = fill(params.scale * kE4M3Factor);
  for (int h = 0; h < heads; ++h) {
    const float* query = params.queries + (first + h) * dim;
    const std::int8_t* codes = params.query_codes + (first + h) * dim;
    FloatVec squares = hn::Zero(Floats());
    for (int c = 0; c < dim; c += kLanes) {
      const FloatVec x = load(query + c);
      squares = hn::MulAdd(x, x, squares);
      store(hn::Mul(x, mean_scale), factors.queries + h * dim + c);
    }
    std::int32_t sum = 0;
    for (int c = 0; c < dim; ++c) sum += codes[c];
    // Every code stands (2^bits - 1) / 2 above its level.
    const std::int32_t twice = -((1 << bits) - 1) * sum;
    const float step = params.scale * params.query_steps[first + h];
    factors.shift[h] = twice >> 1;
    factors.step[h] = step;
    factors.rest[h] = (twice & 1) != 0 ? 0.5f * step : 0.0f;
    factors.noise[h] =
        0.5f * params.scale * params.scale * sum_of_lanes(squares) * sketch_noise(bits);
  }
  const int padded = (heads + kDotRows - 1) / kDotRows * kDotRows;
  std::fill_n(factors.queries + heads * dim, (padded - heads) * dim, 0.0f);
}

// means[h] = scale * q_h . mean of the block, for heads rounded up likewise.
HWY_INLINE void score_mean(const MomentsView& moments, std::int64_t index, int head_dim,
                           const HeadFactors& factors, int heads, float* means) {
  const hn::Full128<float> four;
  const std::uint8_t* codes = moments.codes + index * 2 * head_dim;
  const auto scale = hn::Set(four, moments.scales[index]);
  alignas(64) float mean[kMostSketchDim];
  for (int c = 0; c < head_dim; c += kLanes) store(decode_e4m3(codes + c), mean + c);
  for (int head = 0; head < heads; head += kDotRows) {
    const float* queries[kDotRows];
    for (int h = 0; h < kDotRows; ++h) queries[h] = factors.queries + (head + h) * head_dim;
    dot_tile<1>(queries, mean, head_dim, head_dim, means + head, kDotRows);
    hn::Store(hn::Mul(hn::Load(four, means + head), scale), four, means + head);
  }
}

// Scores of one block for kHeads heads, from `head` of the head block on.
template <int kBits, int kHeads>
HWY_INLINE void score_block(const std::uint32_t* codes, const Float16* row_scales, int head_dim,
                            const std::int8_t* queries,  // [kHeads, head_dim]
                            const HeadFactors& factors, int head, const float* means,
                            float* scores,  // [kHeads, kBlockSize]
                            std::int64_t score_stride) {
  for (int row = 0; row < kBlockSize; row += kTileVectors * kLanes) {
    IntVec sums[kHeads][kTileVectors];
    for (int h = 0; h < kHeads; ++h) {
      for (int v = 0; v < kTileVectors; ++v) sums[h][v] = hn::Set(Ints(), factors.shift[head + h]);
    }
    sum_products<kBits>(codes + row, head_dim, queries, sums);
    for (int v = 0; v < kTileVectors; ++v) {
      const int at = row + v * kLanes;
      const FloatVec row_scale = load(row_scales + at);
      for (int h = 0; h < kHeads; ++h) {
        FloatVec slope =
            hn::MulAdd(fill(factors.noise[head + h]), row_scale, fill(factors.rest[head + h]));
        slope =
            hn::MulAdd(fill(factors.step[head + h]), hn::ConvertTo(Floats(), sums[h][v]), slope);
        store(hn::MulAdd(slope, row_scale, fill(means[head + h])), scores + h * score_stride + at);
      }
    }
  }
}

// Where one KV head's blocks lie.
struct BlockPlaces {
  // As moments_index(), without its divisions.
  HWY_INLINE std::int64_t index(int j) const {
    const std::int64_t page = pages[list[j] >> page_shift];
    return ((page * kv_heads + kv_head) << page_shift) + (list[j] & ((1 << page_shift) - 1));
  }
  const std::int32_t* list;
  const std::int32_t* pages;
  int page_shift;
  int kv_heads;
  int kv_head;
};

HWY_INLINE void prefetch_bytes(const void* from, std::int64_t bytes) {
  constexpr int kLine = 64;
  for (std::int64_t byte = 0; byte < bytes; byte += kLine) {
    hwy::Prefetch(static_cast<const std::uint8_t*>(from) + byte);
  }
}

// Not a lambda: calls that do nothing but prefetch are thought to do nothing and removed, unless
// they are inlined first.
HWY_INLINE void prefetch_block(const RowScoresParams& params, std::int64_t index,
                               std::int64_t block_words) {
  const int dim = params.kv.head_dim;
  prefetch_bytes(params.sketches.codes + index * block_words,
                 block_words * static_cast<int>(sizeof(std::uint32_t)));
  prefetch_bytes(params.sketches.scales + index * kBlockSize, kBlockSize * sizeof(Float16));
  prefetch_bytes(params.moments.codes + index * 2 * dim, dim);
  prefetch_bytes(params.moments.scales + index, sizeof(float));
}

template <int kBits>
void score_listed_as(const RowScoresParams& params, int sequence, int kv_head, int begin, int end) {
  const KvView& kv = params.kv;
  const int dim = kv.head_dim;
  const std::int64_t block_words = std::int64_t{dim} * kBits / 32 * kBlockSize;
  const int group = params.q_heads / kv.kv_heads;
  const std::int64_t first = std::int64_t{sequence} * params.q_heads + kv_head * group;
  const BlockPlaces places{params.blocks.list(sequence, kv_head, kv.kv_heads),
                           kv.page_table + sequence * kv.page_table_stride,
                           std::countr_zero(static_cast<unsigned>(kv.page_size / kBlockSize)),
                           kv.kv_heads, kv_head};
  HeadFactors factors;
  alignas(64) float means[kHeadBlock];
  for (int head = 0; head < group; head += kHeadBlock) {
    const int heads = std::min(kHeadBlock, group - head);
    const std::int8_t* queries = params.query_codes + (first + head) * dim;
    for (int j = begin; j < std::min(begin + kAhead, end); ++j) {
      prefetch_block(params, places.index(j), block_words);
    }
    prepare_heads(params, first + head, heads, factors);
    for (int j = begin; j < end; ++j) {
      if (j + kAhead < end) prefetch_block(params, places.index(j + kAhead), block_words);
      const std::int64_t index = places.index(j);
      const std::uint32_t* codes = params.sketches.codes + index * block_words;
      const Float16* row_scales = params.sketches.scales + index * kBlockSize;
      float* scores =
          params.scores + (first + head) * params.score_stride + std::int64_t{j} * kBlockSize;
      score_mean(params.moments, index, dim, factors, heads, means);
      int h = 0;
      const auto score = [&]<int kHeads>() HWY_ATTR {
        score_block<kBits, kHeads>(codes, row_scales, dim, queries + h * dim, factors, h, means,
                                   scores + h * params.score_stride, params.score_stride);
        h += kHeads;
      };
      while (h + kTileHeads <= heads) score.template operator()<kTileHeads>();
      if constexpr (kTileHeads > 4) {
        if (h + 4 <= heads) score.template operator()<4>();
      }
      if (h + 2 <= heads) score.template operator()<2>();
      if (h < heads) score.template operator()<1>();
    }
  }
}

void score_listed(const RowScoresParams& params, int sequence, int kv_head, int begin, int end) {
  visit_int<2, 4>(params.sketches.bits, [&]<int kBits>() {
    score_listed_as<kBits>(params, sequence, kv_head, begin, end);
  });
}

}  // namespace sinkrouter::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "kernels/cpu/cpu.h"
#include "kernels/descriptors.h"

namespace sinkrouter::cpu {
namespace {

HWY_EXPORT(score_listed);

// Scores blocks [begin, end) of all lists laid end to end.
void score_range(const RowScoresParams& params, std::int64_t begin, std::int64_t end) {
  const KvView& kv = params.kv;
  std::int64_t start = 0;
  for (int list = 0; list < kv.sequences * kv.kv_heads && start < end; ++list) {
    const std::int64_t stop = start + params.blocks.counts[list];
    const auto from = static_cast<int>(std::max(begin, start) - start);
    const auto to = static_cast<int>(std::min(end, stop) - start);
    if (from < to) {
      HWY_DYNAMIC_DISPATCH(score_listed)
      (params, list / kv.kv_heads, list % kv.kv_heads, from, to);
    }
    start = stop;
  }
}

}  // namespace

void row_scores(const RowScoresParams& params, ThreadPool& threads) {
  constexpr std::int64_t kLeastBlocks = 32;     // fewer are not worth a thread
  constexpr std::int64_t kRangesPerThread = 4;  // uneven cores even out
  const KvView& kv = params.kv;
  SR_ASSERT(kv.kv_heads > 0 && params.q_heads % kv.kv_heads == 0);
  SR_ASSERT(kv.page_size >= kBlockSize && std::has_single_bit(static_cast<unsigned>(kv.page_size)));
  SR_ASSERT(params.blocks.granule == kBlockSize);
  SR_ASSERT(params.sketches.bits == 2 || params.sketches.bits == 4);
  assert_sketch_dim(kv.head_dim);
  require_kernel(KernelOp::kRowScores, "cpu", kv.dtype, kv.head_dim, params.q_heads / kv.kv_heads);
  std::int64_t blocks = 0;
  for (int list = 0; list < kv.sequences * kv.kv_heads; ++list) {
    blocks += params.blocks.counts[list];
  }
  const std::int64_t most = threads.size() == 1 ? 1 : threads.size() * kRangesPerThread;
  const std::int64_t range_blocks = std::max(kLeastBlocks, (blocks + most - 1) / most);
  const auto ranges = static_cast<int>((blocks + range_blocks - 1) / range_blocks);
  threads.run(ranges, [&](int range, int) {
    const std::int64_t begin = range * range_blocks;
    score_range(params, begin, std::min(blocks, begin + range_blocks));
  });
}

}  // namespace sinkrouter::cpu
#endif
