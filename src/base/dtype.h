#pragma once

#include <bit>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "base/check.h"
#include "sinkrouter/dtype.h"

namespace sinkrouter {

struct BFloat16 {
  std::uint16_t bits;
};
struct Float16 {
  std::uint16_t bits;
};
struct Float8E4M3 {
  std::uint8_t bits;
};

inline float to_float(float x) { return x; }
inline float to_float(BFloat16 x) { return std::bit_cast<float>(std::uint32_t{x.bits} << 16); }
float to_float(Float16 x);
float to_float(Float8E4M3 x);

// Round to nearest even. e4m3 has no infinity: larger values saturate at 448, NaN stays NaN.
template <typename T>
T from_float(float x);
template <>
inline float from_float<float>(float x) {
  return x;
}
template <>
inline BFloat16 from_float<BFloat16>(float x) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(x);
  const std::uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  const std::uint32_t quiet_nan = (bits >> 16) | 0x40;
  return {static_cast<std::uint16_t>((bits & 0x7fffffff) > 0x7f800000 ? quiet_nan : rounded)};
}
template <>
Float16 from_float<Float16>(float x);
template <>
Float8E4M3 from_float<Float8E4M3>(float x);

// The least fp16 that is not below x >= 0; NaN when there is none.
Float16 float16_not_below(float x);

template <typename T>
constexpr DType dtype_of() {
  if constexpr (std::is_same_v<T, float>) return DType::kF32;
  if constexpr (std::is_same_v<T, Float16>) return DType::kF16;
  if constexpr (std::is_same_v<T, BFloat16>) return DType::kBF16;
  if constexpr (std::is_same_v<T, Float8E4M3>) return DType::kF8E4M3;
}

// Calls fn.template operator()<T>() with the C++ type of `dtype`, which must be one of Ts.
template <typename... Ts, typename Fn>
void visit_dtype(DType dtype, Fn&& fn) {
  const bool found = ((dtype == dtype_of<Ts>() && (fn.template operator()<Ts>(), true)) || ...);
  SR_CHECK(found, kInvalidArgument, "dtype {} is not supported here", name(dtype));
}

// Calls fn.template operator()<N>() for the N in Ns equal to `value`; false if there is none.
template <int... Ns, typename Fn>
bool visit_int(int value, Fn&& fn) {
  return ((value == Ns && (fn.template operator()<Ns>(), true)) || ...);
}

}  // namespace sinkrouter
