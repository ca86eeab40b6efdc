#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/sketch_queries.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h, which includes this file once per instruction set.
#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/cpu/dot-inl.h"
#include "kernels/cpu/sketch_shapes.h"
#include "kernels/params.h"
#include "kernels/rounding.h"

HWY_BEFORE_NAMESPACE();
namespace sinkrouter::cpu::HWY_NAMESPACE {

// Codes of one rotated query; returns its step.
HWY_INLINE float encode_query(const float* rotated, int head_dim, std::int8_t* codes) {
  constexpr float kLargestCode = 127.0f;
  constexpr float kLeast = 1e-30f;  // below it the inverse of the step may overflow
  FloatVec largest = hn::Zero(Floats());
  FloatVec doubts = hn::Zero(Floats());  // becomes NaN, which a maximum would lose
  for (int c = 0; c < head_dim; c += kLanes) {
    const FloatVec x = load(rotated + c);
    largest = hn::Max(largest, hn::Abs(x));
    doubts = hn::MulAdd(x, hn::Zero(Floats()), doubts);
  }
  const float most = max_of_lanes(largest);
  const bool finite = !std::isnan(sum_of_lanes(doubts));
  if (!finite || most < kLeast) {
    std::fill_n(codes, head_dim, std::int8_t{0});
    return finite ? 0.0f : std::numeric_limits<float>::quiet_NaN();
  }
  const FloatVec inverse = fill(kLargestCode / most);
  const hn::Rebind<std::int8_t, Floats> d8;
  for (int c = 0; c < head_dim; c += kLanes) {
    const auto code = hn::NearestInt(hn::Mul(load(rotated + c), inverse));
    hn::StoreU(hn::DemoteTo(d8, code), d8, codes + c);
  }
  return most / kLargestCode;
}

// At least |rotation * query - step * codes|: what quantising leaves, and what rotating lost.
HWY_INLINE float bound_miss(const float* query, const float* rotated, const std::int8_t* codes,
                            float step, int head_dim) {
  constexpr double kLeast = 1e-30;  // more than underflow can hide
  double missed = 0;
  double squares = 0;
  for (int c = 0; c < head_dim; ++c) {
    const double rest = rotated[c] - double{step} * codes[c];
    missed += rest * rest;
    squares += double{query[c]} * query[c];
  }
  const double bound = std::sqrt(missed) + rotation_rounding(head_dim) * std::sqrt(squares);
  return static_cast<float>(bound * (1 + 4 * kUnitRoundoff) + kLeast);
}

void encode_queries(const SketchQueriesParams& params) {
  const int head_dim = params.head_dim;
  alignas(64) float rotated[kDotVectors * kMostSketchDim];
  for (int row = 0; row < params.rows; row += kDotVectors) {
    const int count = std::min(kDotVectors, params.rows - row);
    const float* queries = params.queries + std::int64_t{row} * head_dim;
    for (int channel = 0; channel < head_dim; channel += kDotRows) {
      const float* rows[kDotRows];
      for (int r = 0; r < kDotRows; ++r) rows[r] = params.rotation + (channel + r) * head_dim;
      dot_rows(rows, queries, head_dim, count, head_dim, rotated + channel, kMostSketchDim);
    }
    for (int r = 0; r < count; ++r) {
      params.steps[row + r] = encode_query(rotated + r * kMostSketchDim, head_dim,
                                           params.codes + std::int64_t{row + r} * head_dim);
      if (params.misses == nullptr) continue;
      params.misses[row + r] = bound_miss(queries + r * head_dim, rotated + r * kMostSketchDim,
                                          params.codes + std::int64_t{row + r} * head_dim,
                                          params.steps[row + r], head_dim);
    }
  }
}

}  // namespace sinkrouter::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "kernels/cpu/cpu.h"

namespace sinkrouter::cpu {
namespace {
HWY_EXPORT(encode_queries);
}  // namespace

void sketch_queries(const SketchQueriesParams& params) {
  assert_sketch_dim(params.head_dim);
  HWY_DYNAMIC_DISPATCH(encode_queries)(params);
}

}  // namespace sinkrouter::cpu
#endif
