// Dot products of four stored rows with a few fp32 vectors at once.
#if defined(SINKROUTER_KERNELS_CPU_DOT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SINKROUTER_KERNELS_CPU_DOT_INL_H_
#undef SINKROUTER_KERNELS_CPU_DOT_INL_H_
#else
#define SINKROUTER_KERNELS_CPU_DOT_INL_H_
#endif

#include "kernels/cpu/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace sinkrouter::cpu::HWY_NAMESPACE {

inline constexpr int kDotRows = 4;
inline constexpr int kDotVectors = kManyRegisters ? 4 : 2;

// out[v * out_stride + r] = sum over i < n of x[v * x_stride + i] * rows[r][i]; n is a multiple of
// kLanes.
template <int kVectors, typename T>
HWY_INLINE void dot_tile(const T* const (&rows)[kDotRows], const float* x, std::int64_t x_stride,
                         std::int64_t n, float* out, std::int64_t out_stride) {
  FloatVec sums[kVectors][kDotRows];
  for (int v = 0; v < kVectors; ++v) {
    for (int r = 0; r < kDotRows; ++r) sums[v][r] = hn::Zero(Floats());
  }
  for (std::int64_t i = 0; i < n; i += kLanes) {
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
template <typename T>
HWY_INLINE void dot_rows(const T* const (&rows)[kDotRows], const float* x, std::int64_t x_stride,
                         int vectors, std::int64_t n, float* out, std::int64_t out_stride) {
  int v = 0;
  for (; v + kDotVectors <= vectors; v += kDotVectors) {
    dot_tile<kDotVectors>(rows, x + v * x_stride, x_stride, n, out + v * out_stride, out_stride);
  }
  if constexpr (kDotVectors > 2) {
    for (; v + 2 <= vectors; v += 2) {
      dot_tile<2>(rows, x + v * x_stride, x_stride, n, out + v * out_stride, out_stride);
    }
  }
  if (v < vectors) {
    dot_tile<1>(rows, x + v * x_stride, x_stride, n, out + v * out_stride, out_stride);
  }
}

}  // namespace sinkrouter::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
