#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/block_moments.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h, which includes this file once per instruction set.
#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/cpu/vector-inl.h"
#include "kernels/params.h"

HWY_BEFORE_NAMESPACE();
namespace sinkrouter::cpu::HWY_NAMESPACE {

inline constexpr float kLargestCode = 448.0f;
inline constexpr int kMostColumns = 256;

// Mean and deviation of each column into `moments` [2, head_dim].
template <typename T>
void column_moments(const BlockMomentsParams& params, float* moments) {
  const T* keys = static_cast<const T*>(params.keys);
  const FloatVec inverse = fill(1.0f / kBlockSize);
  for (int c = 0; c < params.head_dim; c += kLanes) {
    FloatVec mean = hn::Zero(Floats());
    for (int row = 0; row < kBlockSize; ++row) {
      mean = hn::Add(mean, load(keys + row * params.token_stride + c));
    }
    mean = hn::Mul(mean, inverse);
    FloatVec squares = hn::Zero(Floats());
    for (int row = 0; row < kBlockSize; ++row) {
      const FloatVec rest = hn::Sub(load(keys + row * params.token_stride + c), mean);
      squares = hn::MulAdd(rest, rest, squares);
    }
    store(mean, moments + c);
    store(hn::Sqrt(hn::Mul(squares, inverse)), moments + params.head_dim + c);
  }
}

void encode_moments(const BlockMomentsParams& params) {
  alignas(64) float moments[2 * kMostColumns];
  visit_dtype<float, BFloat16, Float16>(params.dtype,
                                        [&]<typename T>() { column_moments<T>(params, moments); });
  FloatVec largest = hn::Zero(Floats());
  FloatVec nothing = hn::Zero(Floats());  // becomes NaN when a moment is not finite
  for (int i = 0; i < 2 * params.head_dim; i += kLanes) {
    const FloatVec moment = load(moments + i);
    largest = hn::Max(largest, hn::Abs(moment));
    nothing = hn::MulAdd(moment, hn::Zero(Floats()), nothing);
  }
  if (std::isnan(sum_of_lanes(nothing))) {
    *params.scale = std::numeric_limits<float>::quiet_NaN();
    std::fill_n(params.codes, 2 * params.head_dim, std::uint8_t{0});
    return;
  }
  const float scale = max_of_lanes(largest) / kLargestCode;
  const float inverse = scale > 0 ? 1.0f / scale : 0.0f;
  *params.scale = scale;
  for (int i = 0; i < 2 * params.head_dim; ++i) {
    params.codes[i] = from_float<Float8E4M3>(moments[i] * inverse).bits;
  }
}

}  // namespace sinkrouter::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "kernels/cpu/cpu.h"

namespace sinkrouter::cpu {
namespace {

HWY_EXPORT(encode_moments);
constexpr int kColumnMultiple = 16;
constexpr int kMostColumns = 256;

}  // namespace

void block_moments(const BlockMomentsParams& params) {
  SR_ASSERT(params.head_dim > 0 && params.head_dim <= kMostColumns &&
            params.head_dim % kColumnMultiple == 0);
  HWY_DYNAMIC_DISPATCH(encode_moments)(params);
}

}  // namespace sinkrouter::cpu
#endif
