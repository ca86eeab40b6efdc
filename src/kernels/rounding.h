#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#include "base/dtype.h"

// What fp32 arithmetic of the kernels may lose, rounded up: the terms of docs/theory.md. Sums may
// be taken in any order, with or without fused multiply-add.
namespace sinkrouter {

inline constexpr double kUnitRoundoff = 0x1p-24;

// Bound of |R^T R - I| (spectral norm) that every rotation of row sketches keeps.
inline constexpr double kRotationDefect = 0x1p-18;

// |fl(rotation x) - rotation x| over |x|.
inline double rotation_rounding(int head_dim) {
  return 1.01 * kUnitRoundoff * (head_dim + 2) * std::sqrt(static_cast<double>(head_dim));
}

// Of a logit that a kernel computes, over scale * |q| * |key|: products, sum, scale, log2(e).
inline double logit_rounding(int head_dim) { return kUnitRoundoff * (head_dim + 16); }

// Of a log-sum-exp that decode_attention computes over `rows` logits as it rounded them.
inline double lse_rounding(double lse, std::int64_t rows) {
  return 2e-5 + 2 * kUnitRoundoff * static_cast<double>(rows) +
         8 * kUnitRoundoff * (std::fabs(lse) + 32);
}

// The largest bf16 that is not above x; NaN stays NaN.
inline BFloat16 bfloat16_not_above(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  if (std::isnan(x)) return from_float<BFloat16>(x);
  const bool moves_away = x < 0 && (bits & 0xffff) != 0;
  return {static_cast<std::uint16_t>((bits >> 16) + (moves_away ? 1 : 0))};
}

// The least bf16 that is not below x.
inline BFloat16 bfloat16_not_below(float x) {
  const BFloat16 negated = bfloat16_not_above(-x);
  return {static_cast<std::uint16_t>(negated.bits ^ 0x8000)};
}

}  // namespace sinkrouter
