// Blocked causal attention of a block of query rows against tiles of keys.
#if defined(SINKROUTER_KERNELS_CPU_PREFILL_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SINKROUTER_KERNELS_CPU_PREFILL_TILE_INL_H_
#undef SINKROUTER_KERNELS_CPU_PREFILL_TILE_INL_H_
#else
#define SINKROUTER_KERNELS_CPU_PREFILL_TILE_INL_H_
#endif

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "kernels/cpu/prefill_block.h"
#include "kernels/cpu/vector-inl.h"
#include "kernels/paging.h"
#include "kernels/params.h"

HWY_BEFORE_NAMESPACE();
namespace sinkrouter::cpu::HWY_NAMESPACE {

inline constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();
inline constexpr int kTileVectors = kManyRegisters ? 4 : 2;

// c[r] = decay[r] * c[r] + a[r] * b for kRowBlock rows of a [.., depth] and kVectors vectors of
// columns of b [depth, ..]; without decay, c = a * b.
template <int kVectors>
HWY_INLINE void multiply_tile(const float* a, int a_stride, const float* b, int b_stride, int depth,
                              const float* decay, float* c, int c_stride) {
  FloatVec sums[kRowBlock][kVectors];
  for (int r = 0; r < kRowBlock; ++r) {
    for (int v = 0; v < kVectors; ++v) {
      sums[r][v] = decay == nullptr ? hn::Zero(Floats())
                                    : hn::Mul(fill(decay[r]), load(c + r * c_stride + v * kLanes));
    }
  }
  for (int k = 0; k < depth; ++k) {
    FloatVec row[kVectors];
    for (int v = 0; v < kVectors; ++v) row[v] = load(b + k * b_stride + v * kLanes);
    for (int r = 0; r < kRowBlock; ++r) {
      const FloatVec factor = fill(a[r * a_stride + k]);
      for (int v = 0; v < kVectors; ++v) sums[r][v] = hn::MulAdd(factor, row[v], sums[r][v]);
    }
  }
  for (int r = 0; r < kRowBlock; ++r) {
    for (int v = 0; v < kVectors; ++v) store(sums[r][v], c + r * c_stride + v * kLanes);
  }
}

template <int kColumns>
HWY_INLINE void multiply(const float* a, int a_stride, const float* b, int depth,
                         const float* decay, float* c) {
  constexpr int kAll = kColumns / kLanes;
  constexpr int kWide = kAll % kTileVectors == 0 || kTileVectors == 2 ? kTileVectors : 3;
  constexpr int kRest = kAll % kWide;
  int column = 0;
  for (; column + kWide * kLanes <= kColumns; column += kWide * kLanes) {
    multiply_tile<kWide>(a, a_stride, b + column, kColumns, depth, decay, c + column, kColumns);
  }
  if constexpr (kRest != 0) {
    multiply_tile<kRest>(a, a_stride, b + column, kColumns, depth, decay, c + column, kColumns);
  }
}

// Stores the 128-bit parts of v, 4 * stride floats apart.
template <class D>
HWY_INLINE void store_parts(D d, hn::Vec<D> v, float* to, std::int64_t stride) {
  if constexpr (hn::MaxLanes(d) * sizeof(float) <= 16) {
    hn::StoreU(v, d, to);
  } else {
    const hn::Half<D> half;
    store_parts(half, hn::LowerHalf(half, v), to, stride);
    store_parts(half, hn::UpperHalf(half, v), to + hn::MaxLanes(half) * stride, stride);
  }
}

// to[c * kTileKeys + r] = rows[r][c] for four rows.
template <typename T>
HWY_INLINE void transpose_four(const T* const (&rows)[4], int columns, float* to) {
  const Floats d;
  const hn::Repartition<double, Floats> dd;
  for (int c = 0; c < columns; c += kLanes) {
    const FloatVec row0 = load(rows[0] + c);
    const FloatVec row1 = load(rows[1] + c);
    const FloatVec row2 = load(rows[2] + c);
    const FloatVec row3 = load(rows[3] + c);
    const auto low01 = hn::BitCast(dd, hn::InterleaveLower(d, row0, row1));
    const auto high01 = hn::BitCast(dd, hn::InterleaveUpper(d, row0, row1));
    const auto low23 = hn::BitCast(dd, hn::InterleaveLower(d, row2, row3));
    const auto high23 = hn::BitCast(dd, hn::InterleaveUpper(d, row2, row3));
    float* at = to + c * kTileKeys;
    store_parts(d, hn::BitCast(d, hn::InterleaveLower(dd, low01, low23)), at, kTileKeys);
    store_parts(d, hn::BitCast(d, hn::InterleaveUpper(dd, low01, low23)), at + kTileKeys,
                kTileKeys);
    store_parts(d, hn::BitCast(d, hn::InterleaveLower(dd, high01, high23)), at + 2 * kTileKeys,
                kTileKeys);
    store_parts(d, hn::BitCast(d, hn::InterleaveUpper(dd, high01, high23)), at + 3 * kTileKeys,
                kTileKeys);
  }
}

// fp32 copies of one tile: keys [kDim, kTileKeys], values [kTileKeys, kDim]. Rows from `end` on
// repeat the last one, whose weight is zero.
template <typename T, int kDim>
void pack_tile(const KvView& kv, int kv_head, int begin, int end, float* keys, float* values) {
  for (int key = 0; key < kTileKeys; key += 4) {
    const T* rows[4];
    for (int r = 0; r < 4; ++r) {
      const std::int64_t offset = row_offset(kv, 0, kv_head, std::min(begin + key + r, end - 1));
      rows[r] = static_cast<const T*>(kv.keys) + offset;
      if (begin + key + r >= end) continue;
      const T* value = static_cast<const T*>(kv.values) + offset;
      float* to = values + (key + r) * kDim;
      for (int c = 0; c < kDim; c += kLanes) store(load(value + c), to + c);
    }
    transpose_four(rows, kDim, keys + key);
  }
}

// One row of log2 scores becomes weights relative to its running maximum. `visible` keys count.
HWY_INLINE void soften_row(float* scores, int visible, float& maximum, float* sums, float& decay) {
  constexpr int kVectors = kTileKeys / kLanes;
  if (visible < kTileKeys) {
    for (int key = visible; key < kTileKeys; ++key) scores[key] = kMinusInfinity;
  }
  FloatVec score[kVectors];
  FloatVec largest = fill(kMinusInfinity);
  for (int v = 0; v < kVectors; ++v) {
    score[v] = load(scores + v * kLanes);
    largest = hn::Max(largest, score[v]);
  }
  const float next = std::fmax(maximum, max_of_lanes(largest));
  const float base = next == kMinusInfinity ? 0.0f : next;
  const FloatVec bases = fill(base);
  decay = next == maximum ? 1.0f : std::exp2(maximum - base);
  maximum = next;
  FloatVec sum = hn::Mul(fill(decay), load(sums));
  for (int v = 0; v < kVectors; ++v) {
    const FloatVec weight = exp2(hn::Sub(score[v], bases));
    store(weight, scores + v * kLanes);
    sum = hn::Add(sum, weight);
  }
  store(sum, sums);
}

template <typename T, int kDim>
void attend_block_as(const PrefillAttentionParams& params, const PrefillBlock& block,
                     float* scratch) {
  const KvView& kv = params.kv;
  const int group = params.q_heads / kv.kv_heads;
  const int rows = block.tokens * group;
  const int padded = padded_rows(rows);
  const PrefillScratch at(scratch, padded, kDim);
  const float scale = params.scale * std::numbers::log2e_v<float>;
  const std::int64_t first =
      std::int64_t{block.token} * params.q_heads + std::int64_t{block.kv_head} * group;

  // Row r is token r / group of the block, q head r % group of the group.
  for (int row = 0; row < padded; ++row) {
    const int source = std::min(row, rows - 1);
    const float* query =
        params.queries +
        (first + std::int64_t{source / group} * params.q_heads + source % group) * kDim;
    for (int c = 0; c < kDim; ++c) at.queries[row * kDim + c] = scale * query[c];
  }
  std::fill_n(at.mixed, padded * kDim, 0.0f);
  std::fill_n(at.sums, padded * kLanes, 0.0f);
  std::fill_n(at.maximum, padded, kMinusInfinity);

  const int position = params.first_position + block.token;
  const int end = position + block.tokens;
  for (int tile = 0; tile < end; tile += kTileKeys) {
    pack_tile<T, kDim>(kv, block.kv_head, tile, std::min(end, tile + kTileKeys), at.keys,
                       at.values);
    // Rows of tokens before the tile see none of it.
    const int first_row = std::max(0, tile - position) * group / kRowBlock * kRowBlock;
    for (int row = first_row; row < rows; row += kRowBlock) {
      alignas(64) float weights[kRowBlock * kTileKeys];
      float decay[kRowBlock];
      multiply<kTileKeys>(at.queries + row * kDim, kDim, at.keys, kDim, nullptr, weights);
      int seen = 0;
      for (int r = 0; r < kRowBlock; ++r) {
        const int token = std::min(row + r, rows - 1) / group;
        const int visible = std::clamp(position + token + 1 - tile, 0, kTileKeys);
        seen = std::max(seen, visible);
        soften_row(weights + r * kTileKeys, visible, at.maximum[row + r],
                   at.sums + (row + r) * kLanes, decay[r]);
      }
      multiply<kDim>(weights, kTileKeys, at.values, seen, decay, at.mixed + row * kDim);
    }
  }

  for (int row = 0; row < rows; ++row) {
    const FloatVec inverse = fill(1.0f / sum_of_lanes(load(at.sums + row * kLanes)));
    float* output =
        params.output + (first + std::int64_t{row / group} * params.q_heads + row % group) * kDim;
    for (int c = 0; c < kDim; c += kLanes) {
      store(hn::Mul(inverse, load(at.mixed + row * kDim + c)), output + c);
    }
  }
}

void attend_block(const PrefillAttentionParams& params, const PrefillBlock& block, float* scratch) {
  visit_dtype<float, BFloat16, Float16>(params.kv.dtype, [&]<typename T>() {
    visit_int<64, 80, 96, 128>(
        params.kv.head_dim, [&]<int kDim>() { attend_block_as<T, kDim>(params, block, scratch); });
  });
}

}  // namespace sinkrouter::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
