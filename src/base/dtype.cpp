#include "base/dtype.h"

#include <cmath>
#include <limits>

namespace sinkrouter {

std::size_t size_in_bytes(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return 4;
    case DType::kF16:
    case DType::kBF16:
      return 2;
    case DType::kF8E4M3:
      return 1;
  }
  SR_ASSERT(false);
}

std::string_view name(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return "f32";
    case DType::kF16:
      return "f16";
    case DType::kBF16:
      return "bf16";
    case DType::kF8E4M3:
      return "f8e4m3";
  }
  SR_ASSERT(false);
}

DType parse_dtype(std::string_view text) {
  for (DType dtype : {DType::kF32, DType::kF16, DType::kBF16, DType::kF8E4M3}) {
    if (text == name(dtype)) return dtype;
  }
  throw Error(Error::Kind::kInvalidArgument,
              fmt::format("unknown dtype '{}': expected f32, f16, bf16 or f8e4m3", text));
}

float to_float(Float16 x) {
  const std::uint32_t sign = std::uint32_t{x.bits & 0x8000u} << 16;
  const std::uint32_t exponent = (x.bits >> 10) & 0x1f;
  const std::uint32_t mantissa = x.bits & 0x3ff;
  if (exponent == 0x1f) return std::bit_cast<float>(sign | 0x7f800000u | (mantissa << 13));
  if (exponent == 0) {
    const float magnitude = std::ldexp(static_cast<float>(mantissa), -24);
    return sign != 0 ? -magnitude : magnitude;
  }
  return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
}

float to_float(Float8E4M3 x) {
  const int exponent = (x.bits >> 3) & 0xf;
  const int mantissa = x.bits & 7;
  float magnitude;
  if (exponent == 0xf && mantissa == 7) {
    magnitude = std::numeric_limits<float>::quiet_NaN();
  } else if (exponent == 0) {
    magnitude = std::ldexp(static_cast<float>(mantissa), -9);
  } else {
    magnitude = std::ldexp(static_cast<float>(8 + mantissa), exponent - 10);
  }
  return (x.bits & 0x80) != 0 ? -magnitude : magnitude;
}

template <>
Float16 from_float<Float16>(float x) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(x);
  const auto sign = static_cast<std::uint16_t>((bits >> 16) & 0x8000);
  if (std::isnan(x)) return {static_cast<std::uint16_t>(sign | 0x7e00)};
  const float magnitude = std::fabs(x);
  if (magnitude >= 65520.0f) return {static_cast<std::uint16_t>(sign | 0x7c00)};
  if (magnitude < std::ldexp(1.0f, -14)) {
    const auto units = static_cast<std::uint16_t>(std::nearbyint(std::ldexp(magnitude, 24)));
    return {static_cast<std::uint16_t>(sign | units)};
  }
  std::uint32_t rounded = bits & 0x7fffffff;
  rounded += 0xfff + ((rounded >> 13) & 1);
  return {static_cast<std::uint16_t>(sign | ((rounded >> 13) - (112u << 10)))};
}

template <>
Float8E4M3 from_float<Float8E4M3>(float x) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(x);
  const auto sign = static_cast<std::uint8_t>((bits >> 24) & 0x80);
  if (std::isnan(x)) return {static_cast<std::uint8_t>(sign | 0x7f)};
  const float magnitude = std::fabs(x);
  if (magnitude >= 448.0f) return {static_cast<std::uint8_t>(sign | 0x7e)};
  if (magnitude < std::ldexp(1.0f, -6)) {
    const auto units = static_cast<std::uint8_t>(std::nearbyint(std::ldexp(magnitude, 9)));
    return {static_cast<std::uint8_t>(sign | units)};
  }
  std::uint32_t rounded = bits & 0x7fffffff;
  rounded += 0x7ffff + ((rounded >> 20) & 1);
  const std::uint32_t code = (rounded >> 20) - (120u << 3);
  return {static_cast<std::uint8_t>(sign | (code > 0x7e ? 0x7e : code))};
}

Float16 float16_not_below(float x) {
  Float16 result = from_float<Float16>(x);
  if (to_float(result) < x) ++result.bits;
  if (!std::isfinite(to_float(result))) result.bits = 0x7e00;
  return result;
}

}  // namespace sinkrouter
