// One thread's part of decode attention: a span of one list's rows, for all q heads of the group.
#if defined(SINKROUTER_KERNELS_CPU_DECODE_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SINKROUTER_KERNELS_CPU_DECODE_TILE_INL_H_
#undef SINKROUTER_KERNELS_CPU_DECODE_TILE_INL_H_
#else
#define SINKROUTER_KERNELS_CPU_DECODE_TILE_INL_H_
#endif

#include <hwy/cache_control.h>

#include <algorithm>
#include <limits>
#include <numbers>

#include "kernels/cpu/decode_span.h"
#include "kernels/cpu/dot-inl.h"

HWY_BEFORE_NAMESPACE();
namespace sinkrouter::cpu::HWY_NAMESPACE {

inline constexpr int kHeadBlock = 16;  // q heads whose scores are kept at once
inline constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

// Cache lines that begin in bytes [kBegin, kEnd) of a row.
template <int kBegin, int kEnd>
HWY_INLINE void prefetch_row(const void* row) {
  constexpr int kLine = 64;
  for (int byte = (kBegin + kLine - 1) / kLine * kLine; byte < kEnd; byte += kLine) {
    hwy::Prefetch(static_cast<const std::uint8_t*>(row) + byte);
  }
}

// scores[h][r] = queries[h] . keys[r] for kHeads heads and four rows; queries in paired order.
template <int kHeads, int kDim, typename T>
HWY_INLINE void score_four(const T* const (&rows)[kDotRows], const float* queries, float* scores) {
  FloatVec sums[kHeads][kDotRows];
  for (int h = 0; h < kHeads; ++h) {
    for (int r = 0; r < kDotRows; ++r) sums[h][r] = hn::Zero(Floats());
  }
  int c = 0;
  for (; c + 2 * kLanes <= kDim; c += 2 * kLanes) {
    FloatVec first[kDotRows];
    FloatVec second[kDotRows];
    for (int r = 0; r < kDotRows; ++r) load_pair(rows[r] + c, first[r], second[r]);
    for (int h = 0; h < kHeads; ++h) {
      const FloatVec query = load(queries + h * kDim + c);
      for (int r = 0; r < kDotRows; ++r) sums[h][r] = hn::MulAdd(query, first[r], sums[h][r]);
    }
    for (int h = 0; h < kHeads; ++h) {
      const FloatVec query = load(queries + h * kDim + c + kLanes);
      for (int r = 0; r < kDotRows; ++r) sums[h][r] = hn::MulAdd(query, second[r], sums[h][r]);
    }
  }
  if constexpr (kDim % (2 * kLanes) != 0) {
    for (int r = 0; r < kDotRows; ++r) {
      const FloatVec last = load(rows[r] + c);
      for (int h = 0; h < kHeads; ++h) {
        sums[h][r] = hn::MulAdd(load(queries + h * kDim + c), last, sums[h][r]);
      }
    }
  }
  for (int h = 0; h < kHeads; ++h) {
    store_four_folds(sums[h][0], sums[h][1], sums[h][2], sums[h][3], Sum(), scores + h * kTileRows);
  }
}

// Scores of a whole tile, while the next tile's keys are fetched.
template <int kDim, typename T>
HWY_INLINE void score_tile(const T* keys, const RowTile& tile, const RowTile& next,
                           const float* queries, int heads, float* scores) {
  for (int row = 0; row < tile.rows; row += kDotRows) {
    const T* rows[kDotRows];
    for (int r = 0; r < kDotRows; ++r) rows[r] = keys + tile.offsets[row + r];
    if (row < next.rows) {
      for (int r = 0; r < kDotRows; ++r) {
        prefetch_row<0, kDim * sizeof(T)>(keys + next.offsets[row + r]);
      }
    }
    int h = 0;
    for (; h + kDotVectors <= heads; h += kDotVectors) {
      score_four<kDotVectors, kDim>(rows, queries + h * kDim, scores + h * kTileRows + row);
    }
    for (; h < heads; ++h) {
      score_four<1, kDim>(rows, queries + h * kDim, scores + h * kTileRows + row);
    }
  }
}

// Turns scores into weights relative to each head's running maximum; decay is the factor for what
// was summed before. Arrays hold kHeadBlock heads, of which `heads` are real.
HWY_INLINE void soften(float* scores, int rows, int heads, float* maximum, float* sums,
                       float* decay) {
  FloatVec largest[kHeadBlock];
  for (int h = 0; h < heads; ++h) {
    float* score = scores + h * kTileRows;
    for (int row = rows; row % kLanes != 0; ++row) score[row] = kMinusInfinity;
    largest[h] = load(score);
    for (int row = kLanes; row < rows; row += kLanes) {
      largest[h] = hn::Max(largest[h], load(score + row));
    }
  }
  for (int h = heads; h % 4 != 0; ++h) largest[h] = fill(kMinusInfinity);
  alignas(64) float base[kHeadBlock];
  for (int h = 0; h < heads; h += 4) {
    store_four_folds(largest[h], largest[h + 1], largest[h + 2], largest[h + 3], Largest(),
                     base + h);
  }
  for (int h = 0; h < heads; h += kLanes) {
    const FloatVec before = load(maximum + h);
    const FloatVec after = hn::Max(before, load(base + h));
    const FloatVec from = hn::IfThenElse(hn::Eq(after, fill(kMinusInfinity)), fill(0.0f), after);
    store(exp2(hn::Sub(before, from)), decay + h);
    store(after, maximum + h);
    store(from, base + h);
  }
  for (int h = 0; h < heads; ++h) {
    float* score = scores + h * kTileRows;
    const FloatVec from = fill(base[h]);
    FloatVec sum = hn::Mul(fill(decay[h]), load(sums + h * kLanes));
    for (int row = 0; row < rows; row += kLanes) {
      const FloatVec weight = exp2(hn::Sub(load(score + row), from));
      store(weight, score + row);
      sum = hn::Add(sum, weight);
    }
    store(sum, sums + h * kLanes);
  }
}

// mixed[h] = mixed[h] * decay[h] + sum over rows of weights[h][row] * values[row], for kHeads heads
// and kVectors vectors of columns from kColumn on, in paired order. `upcoming` are rows to fetch
// meanwhile: a few lines at a time, for memory keeps only so many requests in flight.
template <int kHeads, int kVectors, int kDim, int kColumn, typename T>
HWY_INLINE void mix_columns(const T* values, const RowTile& tile, const RowTile& upcoming,
                            const float* weights, const float* decay, float* mixed) {
  FloatVec sums[kHeads][kVectors];
  for (int h = 0; h < kHeads; ++h) {
    const FloatVec factor = fill(decay[h]);
    for (int v = 0; v < kVectors; ++v) {
      sums[h][v] = hn::Mul(factor, load(mixed + h * kDim + kColumn + v * kLanes));
    }
  }
  for (int row = 0; row < tile.rows; ++row) {
    const T* value = values + tile.offsets[row] + kColumn;
    if (row < upcoming.rows) {
      constexpr int kSize = sizeof(T);
      prefetch_row<kColumn * kSize, (kColumn + kVectors * kLanes) * kSize>(values +
                                                                           upcoming.offsets[row]);
    }
    FloatVec weight[kHeads];
    for (int h = 0; h < kHeads; ++h) weight[h] = fill(weights[h * kTileRows + row]);
    for (int v = 0; v + 1 < kVectors; v += 2) {
      FloatVec first;
      FloatVec second;
      load_pair(value + v * kLanes, first, second);
      for (int h = 0; h < kHeads; ++h) {
        sums[h][v] = hn::MulAdd(weight[h], first, sums[h][v]);
        sums[h][v + 1] = hn::MulAdd(weight[h], second, sums[h][v + 1]);
      }
    }
    if constexpr (kVectors % 2 != 0) {
      const FloatVec last = load(value + (kVectors - 1) * kLanes);
      for (int h = 0; h < kHeads; ++h) {
        sums[h][kVectors - 1] = hn::MulAdd(weight[h], last, sums[h][kVectors - 1]);
      }
    }
  }
  for (int h = 0; h < kHeads; ++h) {
    for (int v = 0; v < kVectors; ++v) store(sums[h][v], mixed + h * kDim + kColumn + v * kLanes);
  }
}

template <int kHeads, int kDim, int kColumn = 0, typename T>
HWY_INLINE void mix_values(const T* values, const RowTile& tile, const RowTile& upcoming,
                           const float* weights, const float* decay, float* mixed) {
  constexpr int kAll = kDim / kLanes;
  constexpr int kMost = kManyRegisters ? 24 / kHeads : 8 / kHeads;
  constexpr int kVectors = kAll % 6 == 0 && kMost >= 6   ? 6
                           : kAll == 5 && kMost >= 5     ? 5
                           : kAll % 4 == 0 && kMost >= 4 ? 4
                                                         : 2;
  static_assert(kAll % kVectors == 0 && (kVectors % 2 == 0 || kVectors == kAll));
  mix_columns<kHeads, kVectors, kDim, kColumn>(values, tile, upcoming, weights, decay, mixed);
  if constexpr (kColumn + kVectors * kLanes < kDim) {
    mix_values<kHeads, kDim, kColumn + kVectors * kLanes>(values, tile, upcoming, weights, decay,
                                                          mixed);
  }
}

template <typename T, int kDim>
void attend_span_as(const DecodeAttentionParams& params, const RowSpan& span,
                    const SpanScratch& scratch, const PartialView& partial) {
  const KvView& kv = params.kv;
  const int group = params.q_heads / kv.kv_heads;
  const T* keys = static_cast<const T*>(kv.keys);
  const T* values = static_cast<const T*>(kv.values);
  const float* queries =
      params.queries +
      (std::int64_t{span.sequence} * params.q_heads + std::int64_t{span.kv_head} * group) * kDim;
  const float scale = params.scale * std::numbers::log2e_v<float>;
  for (int h = 0; h < group; ++h) {
    for (int c = 0; c < kDim; ++c) {
      scratch.queries[h * kDim + paired_index<T>(c, kDim)] = scale * queries[h * kDim + c];
    }
  }
  const int padded = padded_heads(group);
  std::fill_n(scratch.maximum, padded, kMinusInfinity);
  std::fill_n(scratch.sums, padded * kLanes, 0.0f);
  if (params.output != nullptr) std::fill_n(scratch.mixed, group * kDim, 0.0f);

  alignas(64) float scores[kHeadBlock * kTileRows];
  alignas(64) float decay[kHeadBlock];
  RowTile tiles[2];
  locate_rows(params, span, span.begin, tiles[0]);
  int current = 0;
  for (std::int64_t row = span.begin; row < span.end; row += kTileRows, current ^= 1) {
    const RowTile& tile = tiles[current];
    RowTile& next = tiles[current ^ 1];
    locate_rows(params, span, row + kTileRows, next);
    for (int head = 0; head < group; head += kHeadBlock) {
      const int heads = std::min(kHeadBlock, group - head);
      score_tile<kDim>(keys, tile, next, scratch.queries + head * kDim, heads, scores);
      soften(scores, tile.rows, heads, scratch.maximum + head, scratch.sums + head * kLanes, decay);
      if (params.output == nullptr) continue;
      float* mixed = scratch.mixed + head * kDim;
      static constexpr RowTile kNone{};
      int h = 0;
      for (; h + 4 <= heads; h += 4) {
        mix_values<4, kDim>(values, tile, head + h == 0 ? next : kNone, scores + h * kTileRows,
                            decay + h, mixed + h * kDim);
      }
      for (; h < heads; ++h) {
        mix_values<1, kDim>(values, tile, head + h == 0 ? next : kNone, scores + h * kTileRows,
                            decay + h, mixed + h * kDim);
      }
    }
  }

  for (int h = 0; h < group; ++h) {
    partial.maximum[h] = scratch.maximum[h];
    partial.sum[h] = sum_of_lanes(load(scratch.sums + h * kLanes));
    if (params.output == nullptr) continue;
    for (int c = 0; c < kDim; ++c) {
      partial.mixed[h * kDim + c] = scratch.mixed[h * kDim + paired_index<T>(c, kDim)];
    }
  }
}

void attend_span(const DecodeAttentionParams& params, const RowSpan& span,
                 const SpanScratch& scratch, const PartialView& partial) {
  visit_dtype<float, BFloat16, Float16>(params.kv.dtype, [&]<typename T>() {
    visit_int<64, 80, 96, 128>(params.kv.head_dim, [&]<int kDim>() {
      attend_span_as<T, kDim>(params, span, scratch, partial);
    });
  });
}

}  // namespace sinkrouter::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
