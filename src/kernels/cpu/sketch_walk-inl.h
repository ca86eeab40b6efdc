// Rows of listed blocks and the logits that their sketches give them, compiled once per instruction
// set.
#if defined(SINKROUTER_KERNELS_CPU_SKETCH_WALK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SINKROUTER_KERNELS_CPU_SKETCH_WALK_INL_H_
#undef SINKROUTER_KERNELS_CPU_SKETCH_WALK_INL_H_
#else
#define SINKROUTER_KERNELS_CPU_SKETCH_WALK_INL_H_
#endif

#include <hwy/cache_control.h>

#include <algorithm>

#include "kernels/cpu/dot-inl.h"
#include "kernels/cpu/e4m3-inl.h"
#include "kernels/cpu/sketch_shapes.h"
#include "kernels/cpu/sketch_tile-inl.h"
#include "kernels/paging.h"
#include "kernels/params.h"

HWY_BEFORE_NAMESPACE();
namespace sinkrouter::cpu::HWY_NAMESPACE {

inline constexpr int kHeadBlock = 16;  // q heads whose factors are kept at once
inline constexpr int kTileHeads = kManyRegisters ? 8 : 4;
inline constexpr int kTileVectors = 2;
inline constexpr int kAhead = 8;  // blocks between fetching and using
static_assert(kBlockSize % (kTileVectors * kLanes) == 0);

// What turns products into logits, head by head: with p = shift + sum_i x_i c_i and s the row's
// scale, the logit is mean + s * (step * p + rest + noise * s). shift is a whole number, so that
// p is exact; rest is what that leaves.
struct HeadFactors {
  std::int32_t shift[kHeadBlock];
  float step[kHeadBlock];
  float rest[kHeadBlock];
  float noise[kHeadBlock];
  float queries[kHeadBlock * kMostSketchDim];  // [heads, head_dim], as block means meet them
};

// Heads are rounded up to whole tiles of dot_tile() by heads of zeros. `noise_variance` is that of
// a channel in squares of a row's scale, as sketch_noise() gives it.
HWY_INLINE void prepare_heads(const SketchedRowsParams& params, std::int64_t first, int heads,
                              float noise_variance, HeadFactors& factors) {
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
    factors.noise[h] = noise_variance == 0.0f ? 0.0f
                                              : 0.5f * params.scale * params.scale *
                                                    sum_of_lanes(squares) * noise_variance;
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

// Logits of one block for kHeads heads, from `head` of the head block on: rows.put(head, row,
// logits of kLanes rows).
template <int kBits, int kHeads, class Rows>
HWY_INLINE void estimate_block(const std::uint32_t* codes, const Float16* row_scales, int head_dim,
                               const std::int8_t* queries,  // [kHeads, head_dim]
                               const HeadFactors& factors, int head, const float* means,
                               const Rows& rows) {
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
        rows.put(head + h, at, hn::MulAdd(slope, row_scale, fill(means[head + h])));
      }
    }
  }
}

HWY_INLINE void prefetch_bytes(const void* from, std::int64_t bytes) {
  constexpr int kLine = 64;
  for (std::int64_t byte = 0; byte < bytes; byte += kLine) {
    hwy::Prefetch(static_cast<const std::uint8_t*>(from) + byte);
  }
}

// Not a lambda: calls that do nothing but prefetch are thought to do nothing and removed, unless
// they are inlined first.
HWY_INLINE void prefetch_block(const SketchedRowsParams& params, std::int64_t index,
                               std::int64_t block_words) {
  const int dim = params.kv.head_dim;
  prefetch_bytes(params.sketches.codes + index * block_words,
                 block_words * static_cast<int>(sizeof(std::uint32_t)));
  prefetch_bytes(params.sketches.scales + index * kBlockSize, kBlockSize * sizeof(Float16));
  prefetch_bytes(params.moments.codes + index * 2 * dim, dim);
  prefetch_bytes(params.moments.scales + index, sizeof(float));
}

// Walks entries [begin, end) of one list, for all heads of the group. Rows says what becomes of the
// logits: prefetch(index), start_heads(first, heads) for heads that are counted from 0 afterwards,
// start_block(j, index), and put(head, row, logits).
template <int kBits, class Rows>
HWY_INLINE void walk_listed(const SketchedRowsParams& params, int sequence, int kv_head, int begin,
                            int end, float noise_variance, Rows& rows) {
  const KvView& kv = params.kv;
  const int dim = kv.head_dim;
  const std::int64_t block_words = std::int64_t{dim} * kBits / 32 * kBlockSize;
  const int group = params.q_heads / kv.kv_heads;
  const std::int64_t first = std::int64_t{sequence} * params.q_heads + kv_head * group;
  const MomentPlaces places(kv, sequence, kv_head);
  const std::int32_t* list = params.blocks.list(sequence, kv_head, kv.kv_heads);
  HeadFactors factors;
  alignas(64) float means[kHeadBlock];
  for (int head = 0; head < group; head += kHeadBlock) {
    const int heads = std::min(kHeadBlock, group - head);
    const std::int8_t* queries = params.query_codes + (first + head) * dim;
    for (int j = begin; j < std::min(begin + kAhead, end); ++j) {
      prefetch_block(params, places.index(list[j]), block_words);
      rows.prefetch(places.index(list[j]));
    }
    prepare_heads(params, first + head, heads, noise_variance, factors);
    rows.start_heads(first + head, heads);
    for (int j = begin; j < end; ++j) {
      if (j + kAhead < end) {
        prefetch_block(params, places.index(list[j + kAhead]), block_words);
        rows.prefetch(places.index(list[j + kAhead]));
      }
      const std::int64_t index = places.index(list[j]);
      const std::uint32_t* codes = params.sketches.codes + index * block_words;
      const Float16* row_scales = params.sketches.scales + index * kBlockSize;
      score_mean(params.moments, index, dim, factors, heads, means);
      rows.start_block(j, index);
      int h = 0;
      const auto estimate = [&]<int kHeads>() HWY_ATTR {
        estimate_block<kBits, kHeads>(codes, row_scales, dim, queries + h * dim, factors, h, means,
                                      rows);
        h += kHeads;
      };
      while (h + kTileHeads <= heads) estimate.template operator()<kTileHeads>();
      if constexpr (kTileHeads > 4) {
        if (h + 4 <= heads) estimate.template operator()<4>();
      }
      if (h + 2 <= heads) estimate.template operator()<2>();
      if (h < heads) estimate.template operator()<1>();
    }
  }
}

}  // namespace sinkrouter::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
