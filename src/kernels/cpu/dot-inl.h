// Dot products of four stored rows with a few fp32 vectors at once.
#if defined(SINKROUTER_KERNELS_CPU_DOT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SINKROUTER_KERNELS_CPU_DOT_INL_H_
#undef SINKROUTER_KERNELS_CPU_DOT_INL_H_
#else
#define SINKROUTER_KERNELS_CPU_DOT_INL_H_
#endif

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "kernels/cpu/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace sinkrouter::cpu::HWY_NAMESPACE {

inline constexpr int kDotRows = 4;
inline constexpr int kDotVectors = kManyRegisters ? 4 : 2;

// What dot_tile() calls for while it works: nothing, or, where rows follow one another in memory n
// elements apart, what it will read next. Rows are too short for the hardware to notice that they
// do.
struct FetchNothing {
  template <typename T>
  HWY_INLINE void operator()(const T* const (&)[kDotRows], std::int64_t, std::int64_t) const {}
};
struct FetchRowsAfter {
  template <typename T>
  HWY_INLINE void operator()(const T* const (&rows)[kDotRows], std::int64_t i,
                             std::int64_t n) const {
    constexpr std::int64_t kAhead = 1024 / sizeof(T);  // of each row
    const std::int64_t ahead = std::min(n, kAhead);
    // Past the end of a row the row that takes its turn after it.
    const std::int64_t at = i + ahead + (i + ahead < n ? 0 : (kDotRows - 1) * n);
    for (const T* row : rows) __builtin_prefetch(row + at, 0, 3);
  }
};

// out[v * out_stride + r] = sum over i < n of x[v * x_stride + i] * rows[r][i]; n is a multiple of
// kLanes.
template <int kVectors, typename T, typename Fetch = FetchNothing>
HWY_INLINE void dot_tile(const T* const (&rows)[kDotRows], const float* x, std::int64_t x_stride,
                         std::int64_t n, float* out, std::int64_t out_stride,
                         const Fetch& fetch = {}) {
  FloatVec sums[kVectors][kDotRows];
  for (int v = 0; v < kVectors; ++v) {
    for (int r = 0; r < kDotRows; ++r) sums[v][r] = hn::Zero(Floats());
  }
  std::int64_t i = 0;
  if constexpr (std::is_same_v<T, BFloat16>) {
    // Bringing x into the order of pairs takes fewer shuffles than the rows into that of x.
    const Floats d;
    for (; i + 2 * kLanes <= n; i += 2 * kLanes) {
      fetch(rows, i, n);
      FloatVec even[kVectors];
      FloatVec odd[kVectors];
      for (int v = 0; v < kVectors; ++v) {
        const FloatVec low = load(x + v * x_stride + i);
        const FloatVec high = load(x + v * x_stride + i + kLanes);
        even[v] = hn::ConcatEven(d, high, low);
        odd[v] = hn::ConcatOdd(d, high, low);
      }
      for (int r = 0; r < kDotRows; ++r) {
        FloatVec first;
        FloatVec second;
        load_pair(rows[r] + i, first, second);
        for (int v = 0; v < kVectors; ++v) sums[v][r] = hn::MulAdd(even[v], first, sums[v][r]);
        for (int v = 0; v < kVectors; ++v) sums[v][r] = hn::MulAdd(odd[v], second, sums[v][r]);
      }
    }
  }
  for (; i < n; i += kLanes) {
    fetch(rows, i, n);
    FloatVec row[kDotRows];
    for (int r = 0; r < kDotRows; ++r) row[r] = load(rows[r] + i);
    for (int v = 0; v < kVectors; ++v) {
      const FloatVec xs = load(x + v * x_stride + i);
      for (int r = 0; r < kDotRows; ++r) sums[v][r] = hn::MulAdd(xs, row[r], sums[v][r]);
    }
  }
  for (int v = 0; v < kVectors; ++v) {
    store_four_folds(sums[v][0], sums[v][1], sums[v][2], sums[v][3], Sum(), out + v * out_stride);
  }
}

// The same for any number of vectors x.
template <typename T, typename Fetch = FetchNothing>
HWY_INLINE void dot_rows(const T* const (&rows)[kDotRows], const float* x, std::int64_t x_stride,
                         int vectors, std::int64_t n, float* out, std::int64_t out_stride,
                         const Fetch& fetch = {}) {
  int v = 0;
  const auto tile = [&]<int kVectors>() HWY_ATTR {
    dot_tile<kVectors>(rows, x + v * x_stride, x_stride, n, out + v * out_stride, out_stride,
                       fetch);
    v += kVectors;
  };
  while (v + kDotVectors <= vectors) tile.template operator()<kDotVectors>();
  if constexpr (kDotVectors > 2) {
    if (v + 2 <= vectors) tile.template operator()<2>();
  }
  if (v < vectors) tile.template operator()<1>();
}

}  // namespace sinkrouter::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
