// Decode attention of tiles of rows, for all q heads of the group at once.
#if defined(SINKROUTER_KERNELS_CPU_DECODE_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SINKROUTER_KERNELS_CPU_DECODE_TILE_INL_H_
#undef SINKROUTER_KERNELS_CPU_DECODE_TILE_INL_H_
#else
#define SINKROUTER_KERNELS_CPU_DECODE_TILE_INL_H_
#endif

#include <algorithm>
#include <limits>

#include "kernels/cpu/decode_span.h"
#include "kernels/cpu/dot-inl.h"

HWY_BEFORE_NAMESPACE();
namespace sinkrouter::cpu::HWY_NAMESPACE {

inline constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

// Rows to ask memory for while others are worked on, as offsets in elements from `base`. A tile
// before its use (`far`) a row is called to the second cache, which has more requests in flight
// than the first and so reaches the full bandwidth, but may drop some when it is busy: hence once
// more a little later (`middle`). Shortly before its use (`near`) it is called on to the first
// cache. Requests go out evenly among the arithmetic, or they would hold each other and it up.
template <typename T>
struct Ahead {
  const T* base = nullptr;
  const std::int64_t* far = nullptr;
  const std::int64_t* middle = nullptr;
  const std::int64_t* near = nullptr;
};

inline constexpr int kLineBytes = 64;
inline constexpr int kToFirstCache = 3;
inline constexpr int kToSecondCache = 2;

// Calls for the lines that begin in elements [begin, begin + kCount) of a row.
template <int kCache, int kCount, typename T>
HWY_INLINE void fetch(const T* row, int begin) {
  constexpr int kPerLine = kLineBytes / sizeof(T);
  if (kCount < kPerLine && begin % kPerLine != 0) return;
  for (int i = 0; i < kCount; i += kPerLine) __builtin_prefetch(row + begin + i, 0, kCache);
}
template <int kCount, typename T>
HWY_INLINE void fetch_from_memory(const Ahead<T>& ahead, int row, int begin) {
  fetch<kToSecondCache, kCount>(ahead.base + ahead.far[row], begin);
  fetch<kToSecondCache, kCount>(ahead.base + ahead.middle[row], begin);
}
template <int kCount, typename T>
HWY_INLINE void fetch_nearer(const Ahead<T>& ahead, int row, int begin) {
  fetch<kToFirstCache, kCount>(ahead.base + ahead.near[row], begin);
}

// scores[h][r] = queries[h] . keys[r] for kHeads heads and four rows; queries in paired order.
template <int kHeads, int kDim, bool kFetch, typename T>
HWY_INLINE void score_four(const T* const (&rows)[kDotRows], const float* queries,
                           const Ahead<T>& ahead, float* scores) {
  constexpr int kPair = 2 * kLanes;
  FloatVec sums[kHeads][kDotRows];
  for (int h = 0; h < kHeads; ++h) {
    for (int r = 0; r < kDotRows; ++r) sums[h][r] = hn::Zero(Floats());
  }
  int c = 0;
  for (; c + kPair <= kDim; c += kPair) {
    FloatVec first[kDotRows];
    FloatVec second[kDotRows];
    for (int r = 0; r < kDotRows; ++r) load_pair(rows[r] + c, first[r], second[r]);
    if constexpr (kFetch) {
      for (int r = 0; r < kDotRows; ++r) fetch_from_memory<kPair>(ahead, r, c);
    }
    for (int h = 0; h < kHeads; ++h) {
      const FloatVec query = load(queries + h * kDim + c);
      for (int r = 0; r < kDotRows; ++r) sums[h][r] = hn::MulAdd(query, first[r], sums[h][r]);
    }
    if constexpr (kFetch) {
      for (int r = 0; r < kDotRows; ++r) fetch_nearer<kPair>(ahead, r, c);
    }
    for (int h = 0; h < kHeads; ++h) {
      const FloatVec query = load(queries + h * kDim + c + kLanes);
      for (int r = 0; r < kDotRows; ++r) sums[h][r] = hn::MulAdd(query, second[r], sums[h][r]);
    }
  }
  if constexpr (kDim % kPair != 0) {
    for (int r = 0; r < kDotRows; ++r) {
      if constexpr (kFetch) {
        fetch_from_memory<kLanes>(ahead, r, c);
        fetch_nearer<kLanes>(ahead, r, c);
      }
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

// mixed[h] += sum over `count` rows of weights[h][row] * values[row], for kHeads heads and the
// columns from kColumn on, in paired order.
template <int kHeads, int kDim, bool kFetch, int kColumn = 0, typename T>
HWY_INLINE void mix_rows(const T* values, const std::int64_t* offsets, int count,
                         const float* weights, const Ahead<T>& ahead, float* mixed) {
  constexpr int kAll = kDim / kLanes;
  constexpr int kMost = kManyRegisters ? 24 / kHeads : 8 / kHeads;
  constexpr int kVectors = kAll % 6 == 0 && kMost >= 6   ? 6
                           : kAll == 5 && kMost >= 5     ? 5
                           : kAll % 4 == 0 && kMost >= 4 ? 4
                                                         : 2;
  static_assert(kAll % kVectors == 0 && (kVectors % 2 == 0 || kVectors == kAll));
  FloatVec sums[kHeads][kVectors];
  for (int h = 0; h < kHeads; ++h) {
    for (int v = 0; v < kVectors; ++v) {
      sums[h][v] = load(mixed + h * kDim + kColumn + v * kLanes);
    }
  }
  for (int row = 0; row < count; ++row) {
    const T* value = values + offsets[row] + kColumn;
    if constexpr (kFetch) {
      fetch_from_memory<kVectors * kLanes>(ahead, row, kColumn);
      fetch_nearer<kVectors * kLanes>(ahead, row, kColumn);
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
  if constexpr (kColumn + kVectors * kLanes < kDim) {
    mix_rows<kHeads, kDim, kFetch, kColumn + kVectors * kLanes>(values, offsets, count, weights,
                                                                ahead, mixed);
  }
}

// Turns the scores of up to kLanes heads into weights relative to each head's running maximum;
// scales what was summed before by the change of that maximum, `mixed` too unless it is null.
template <int kDim>
HWY_INLINE void soften(float* scores, int rows, int heads, float* maximum, float* sums,
                       float* mixed) {
  FloatVec largest[kLanes];
  for (int h = 0; h < heads; ++h) {
    float* score = scores + h * kTileRows;
    for (int row = rows; row % kLanes != 0; ++row) score[row] = kMinusInfinity;
    largest[h] = load(score);
    for (int row = kLanes; row < rows; row += kLanes) {
      largest[h] = hn::Max(largest[h], load(score + row));
    }
  }
  for (int h = heads; h % 4 != 0; ++h) largest[h] = fill(kMinusInfinity);
  alignas(64) float base[kLanes];
  alignas(64) float decay[kLanes];
  for (int h = 0; h < heads; h += 4) {
    store_four_folds(largest[h], largest[h + 1], largest[h + 2], largest[h + 3], Largest(),
                     base + h);
  }
  const FloatVec before = load(maximum);
  const FloatVec after = hn::Max(before, load(base));
  const FloatVec from = hn::IfThenElse(hn::Eq(after, fill(kMinusInfinity)), fill(0.0f), after);
  store(exp2(hn::Sub(before, from)), decay);
  store(after, maximum);
  store(from, base);
  for (int h = 0; h < heads; ++h) {
    float* score = scores + h * kTileRows;
    const FloatVec factor = fill(decay[h]);
    const FloatVec reference = fill(base[h]);
    FloatVec sum = hn::Mul(factor, load(sums + h * kLanes));
    for (int row = 0; row < rows; row += kLanes) {
      const FloatVec weight = exp2(hn::Sub(load(score + row), reference));
      store(weight, score + row);
      sum = hn::Add(sum, weight);
    }
    store(sum, sums + h * kLanes);
    if (mixed == nullptr || decay[h] == 1.0f) continue;
    for (int c = 0; c < kDim; c += kLanes) {
      float* at = mixed + h * kDim + c;
      store(hn::Mul(factor, load(at)), at);
    }
  }
}

}  // namespace sinkrouter::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
