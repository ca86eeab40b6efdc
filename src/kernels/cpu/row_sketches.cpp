#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/row_sketches.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h, which includes this file once per instruction set.
#include <cmath>
#include <limits>

#include "kernels/cpu/e4m3-inl.h"
#include "kernels/cpu/sketch_shapes.h"
#include "kernels/params.h"
#include "kernels/rounding.h"

HWY_BEFORE_NAMESPACE();
namespace sinkrouter::cpu::HWY_NAMESPACE {

// The block's mean over params.mean_scale * kE4M3Factor.
HWY_INLINE void decode_mean(const RowSketchesParams& params, float* mean) {
  for (int c = 0; c < params.head_dim; c += kLanes) {
    store(decode_e4m3(params.mean_codes + c), mean + c);
  }
  for (int c = 0; c < params.head_dim; ++c) {
    if ((params.mean_codes[c] & 0x7f) == 0x7f) mean[c] = std::numeric_limits<float>::quiet_NaN();
  }
}

// Columns of four rows side by side: to[c * kBlockSize + r] = lane c of the r-th vector.
HWY_INLINE void store_transposed(FloatVec a, FloatVec b, FloatVec c, FloatVec e, float* to) {
  const Floats d;
  const hn::Repartition<double, Floats> dd;
  const hn::Full128<float> four;
  const auto low_ab = hn::BitCast(dd, hn::InterleaveLower(d, a, b));
  const auto low_ce = hn::BitCast(dd, hn::InterleaveLower(d, c, e));
  const auto high_ab = hn::BitCast(dd, hn::InterleaveUpper(d, a, b));
  const auto high_ce = hn::BitCast(dd, hn::InterleaveUpper(d, c, e));
  alignas(64) float columns[4 * kLanes];  // the i-th vector holds columns i, i + 4 ...
  store(hn::BitCast(d, hn::InterleaveLower(dd, low_ab, low_ce)), columns);
  store(hn::BitCast(d, hn::InterleaveUpper(dd, low_ab, low_ce)), columns + kLanes);
  store(hn::BitCast(d, hn::InterleaveLower(dd, high_ab, high_ce)), columns + 2 * kLanes);
  store(hn::BitCast(d, hn::InterleaveUpper(dd, high_ab, high_ce)), columns + 3 * kLanes);
  for (int column = 0; column < kLanes; ++column) {
    const float* from = columns + column % 4 * kLanes + column / 4 * 4;
    hn::Store(hn::Load(four, from), four, to + column * kBlockSize);
  }
}

// What the mean leaves of the keys, [head_dim, kBlockSize].
template <typename T>
HWY_INLINE void transpose_residuals(const RowSketchesParams& params, const float* mean,
                                    float* residuals) {
  const FloatVec mean_scale = fill(params.mean_scale * kE4M3Factor);
  for (int row = 0; row < kBlockSize; row += 4) {
    const T* keys = static_cast<const T*>(params.keys) + row * params.token_stride;
    for (int c = 0; c < params.head_dim; c += kLanes) {
      const FloatVec centre = load(mean + c);
      FloatVec rest[4];
      for (int r = 0; r < 4; ++r) {
        rest[r] = hn::NegMulAdd(mean_scale, centre, load(keys + r * params.token_stride + c));
      }
      store_transposed(rest[0], rest[1], rest[2], rest[3], residuals + c * kBlockSize + row);
    }
  }
}

// rotated [head_dim, kBlockSize] = rotation * residuals.
HWY_INLINE void rotate(const float* rotation, int head_dim, const float* residuals,
                       float* rotated) {
  constexpr int kChannels = kManyRegisters ? 8 : 4;
  constexpr int kVectors = 2;
  for (int row = 0; row < kBlockSize; row += kVectors * kLanes) {
    for (int channel = 0; channel < head_dim; channel += kChannels) {
      const float* factors = rotation + channel * head_dim;
      FloatVec sums[kChannels][kVectors];
      for (int i = 0; i < kChannels; ++i) {
        for (int v = 0; v < kVectors; ++v) sums[i][v] = hn::Zero(Floats());
      }
      for (int c = 0; c < head_dim; ++c) {
        FloatVec rest[kVectors];
        for (int v = 0; v < kVectors; ++v) {
          rest[v] = load(residuals + c * kBlockSize + row + v * kLanes);
        }
        for (int i = 0; i < kChannels; ++i) {
          const FloatVec factor = fill(factors[i * head_dim + c]);
          for (int v = 0; v < kVectors; ++v) sums[i][v] = hn::MulAdd(factor, rest[v], sums[i][v]);
        }
      }
      for (int i = 0; i < kChannels; ++i) {
        for (int v = 0; v < kVectors; ++v) {
          store(sums[i][v], rotated + (channel + i) * kBlockSize + row + v * kLanes);
        }
      }
    }
  }
}

// Codes and scales of kLanes rows, the first at `row`; NaN scales where fp16 has no number.
template <int kBits>
HWY_INLINE void encode_rows(const RowSketchesParams& params, const float* rotated, int row) {
  constexpr int kCodesPerByte = 8 / kBits;
  constexpr float kTop = (1 << kBits) - 1;
  constexpr float kCentre = 0.5f * kTop;
  const hn::RebindToSigned<Floats> di;
  const hn::RebindToUnsigned<Floats> du;
  const int head_dim = params.head_dim;
  FloatVec squares = hn::Zero(Floats());
  for (int c = 0; c < head_dim; ++c) {
    const FloatVec x = load(rotated + c * kBlockSize + row);
    squares = hn::MulAdd(x, x, squares);
  }
  const float per_channel = sketch_step(kBits) / std::sqrt(static_cast<float>(head_dim));
  const FloatVec step = hn::Mul(fill(per_channel), hn::Sqrt(squares));
  const FloatVec inverse =
      hn::IfThenElseZero(hn::Gt(step, hn::Zero(Floats())), hn::Div(fill(1.0f), step));
  FloatVec along = hn::Zero(Floats());
  FloatVec weight = hn::Zero(Floats());
  const float* channel = rotated + row;
  for (int word = 0; word < head_dim * kBits / 32; ++word) {
    auto codes = hn::Zero(du);
    for (int j = 0; j < kCodesPerByte; ++j) {
      for (int byte = 0; byte < 4; ++byte, channel += kBlockSize) {
        const FloatVec x = load(channel);
        // Truncation rounds to the nearest code once the half is added; NaN becomes some code.
        const FloatVec raised = hn::MulAdd(x, inverse, fill(kCentre + 0.5f));
        const FloatVec clamped = hn::Min(hn::Max(raised, hn::Zero(Floats())), fill(kTop + 0.5f));
        const auto code = hn::And(hn::ConvertTo(di, clamped), hn::Set(di, (1 << kBits) - 1));
        const FloatVec level = hn::Sub(hn::ConvertTo(Floats(), code), fill(kCentre));
        along = hn::MulAdd(x, level, along);
        weight = hn::MulAdd(level, level, weight);
        codes = hn::Or(codes, hn::ShiftLeftSame(hn::BitCast(du, code), byte * 8 + j * kBits));
      }
    }
    hn::StoreU(codes, du, params.codes + word * kBlockSize + row);
  }
  alignas(64) float scales[kLanes];
  store(hn::Div(along, weight), scales);
  for (int lane = 0; lane < kLanes; ++lane) {
    constexpr float kBeyondFp16 = 65520.0f;  // rounds to infinity
    const bool fits = std::fabs(scales[lane]) < kBeyondFp16;
    params.scales[row + lane] =
        from_float<Float16>(fits ? scales[lane] : std::numeric_limits<float>::quiet_NaN());
  }
}

// Upper bounds of |key - sketch| of kLanes rows, from what was computed to encode them. The terms
// are those of docs/theory.md.
template <int kBits>
HWY_INLINE void bound_misses(const RowSketchesParams& params, const float* rotated, float mean_norm,
                             int row) {
  constexpr int kCodesPerByte = 8 / kBits;
  constexpr float kCentre = 0.5f * ((1 << kBits) - 1);
  const hn::RebindToUnsigned<Floats> du;
  const int head_dim = params.head_dim;
  const FloatVec scale = load(params.scales + row);
  FloatVec squares = hn::Zero(Floats());
  FloatVec missed = hn::Zero(Floats());
  const float* channel = rotated + row;
  for (int word = 0; word < head_dim * kBits / 32; ++word) {
    const auto codes = hn::LoadU(du, params.codes + word * kBlockSize + row);
    for (int j = 0; j < kCodesPerByte; ++j) {
      for (int byte = 0; byte < 4; ++byte, channel += kBlockSize) {
        const auto code = hn::And(hn::ShiftRightSame(codes, byte * 8 + j * kBits),
                                  hn::Set(du, (1u << kBits) - 1));
        const FloatVec level = hn::Sub(hn::ConvertTo(Floats(), code), fill(kCentre));
        const FloatVec x = load(channel);
        const FloatVec rest = hn::NegMulAdd(scale, level, x);
        squares = hn::MulAdd(x, x, squares);
        missed = hn::MulAdd(rest, rest, missed);
      }
    }
  }
  constexpr float kLeast = 0x1p-50f;  // more than underflow can hide
  const auto of_missed =
      static_cast<float>(1 + 2 * kRotationDefect + (head_dim + 32) * kUnitRoundoff);
  const auto of_residual = static_cast<float>(
      1.02 * (rotation_rounding(head_dim) + 2 * kRotationDefect + 8 * kUnitRoundoff));
  const auto of_mean = static_cast<float>(4 * kUnitRoundoff);
  FloatVec bound = fill(of_mean * mean_norm + kLeast);
  bound = hn::MulAdd(fill(of_residual), hn::Sqrt(squares), bound);
  bound = hn::MulAdd(fill(of_missed), hn::Sqrt(missed), bound);
  alignas(64) float bounds[kLanes];
  store(bound, bounds);
  for (int lane = 0; lane < kLanes; ++lane) {
    params.misses[row + lane] = float16_not_below(bounds[lane]);
  }
}

// At least |mean| of the block, up to a few roundings.
HWY_INLINE float norm_of_mean(const RowSketchesParams& params, const float* mean) {
  FloatVec squares = hn::Zero(Floats());
  for (int c = 0; c < params.head_dim; c += kLanes) {
    const FloatVec x = load(mean + c);
    squares = hn::MulAdd(x, x, squares);
  }
  return std::fabs(params.mean_scale) * kE4M3Factor * std::sqrt(sum_of_lanes(squares));
}

void encode_block(const RowSketchesParams& params) {
  alignas(64) float mean[kMostSketchDim];
  alignas(64) float residuals[kMostSketchDim * kBlockSize];
  alignas(64) float rotated[kMostSketchDim * kBlockSize];
  decode_mean(params, mean);
  visit_dtype<float, BFloat16, Float16>(
      params.dtype, [&]<typename T>() { transpose_residuals<T>(params, mean, residuals); });
  rotate(params.rotation, params.head_dim, residuals, rotated);
  visit_int<2, 4>(params.bits, [&]<int kBits>() {
    for (int row = 0; row < kBlockSize; row += kLanes) encode_rows<kBits>(params, rotated, row);
    if (params.misses == nullptr) return;
    const float mean_norm = norm_of_mean(params, mean);
    for (int row = 0; row < kBlockSize; row += kLanes) {
      bound_misses<kBits>(params, rotated, mean_norm, row);
    }
  });
}

}  // namespace sinkrouter::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "kernels/cpu/cpu.h"

namespace sinkrouter::cpu {
namespace {
HWY_EXPORT(encode_block);
}  // namespace

void row_sketches(const RowSketchesParams& params) {
  assert_sketch_dim(params.head_dim);
  SR_ASSERT(params.bits == 2 || params.bits == 4);
  HWY_DYNAMIC_DISPATCH(encode_block)(params);
}

}  // namespace sinkrouter::cpu
#endif
