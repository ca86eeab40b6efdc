#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/elementwise.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h, which includes this file once per instruction set.
#include <cmath>
#include <numbers>

#include "kernels/cpu/vector-inl.h"
#include "kernels/params.h"

HWY_BEFORE_NAMESPACE();
namespace sinkrouter::cpu::HWY_NAMESPACE {

template <typename T>
void norm_row(const float* input, const T* weight, int width, float epsilon, float* output) {
  constexpr int kStreams = 4;
  FloatVec sums[kStreams] = {fill(0.0f), fill(0.0f), fill(0.0f), fill(0.0f)};
  int i = 0;
  for (; i + kStreams * kLanes <= width; i += kStreams * kLanes) {
    for (int s = 0; s < kStreams; ++s) {
      const FloatVec x = load(input + i + s * kLanes);
      sums[s] = hn::MulAdd(x, x, sums[s]);
    }
  }
  double squares = sum_of_lanes(hn::Add(hn::Add(sums[0], sums[1]), hn::Add(sums[2], sums[3])));
  for (; i < width; ++i) squares += double{input[i]} * input[i];
  const auto inverse = static_cast<float>(1.0 / std::sqrt(squares / width + epsilon));
  const FloatVec factor = fill(inverse);
  for (i = 0; i + kLanes <= width; i += kLanes) {
    store(hn::Mul(hn::Mul(load(input + i), factor), load(weight + i)), output + i);
  }
  for (; i < width; ++i) output[i] = input[i] * inverse * to_float(weight[i]);
}

void norm_rows(const RmsNormParams& params, int begin, int end) {
  visit_dtype<float, BFloat16, Float16>(params.weight_dtype, [&]<typename T>() {
    for (std::int64_t token = begin; token < end; ++token) {
      norm_row(params.input + token * params.width, static_cast<const T*>(params.weight),
               params.width, params.epsilon, params.output + token * params.width);
    }
  });
}

HWY_INLINE FloatVec swiglu_of(FloatVec gate, FloatVec up) {
  const FloatVec power = hn::Mul(gate, fill(-std::numbers::log2e_v<float>));
  const FloatVec below = hn::Min(fill(126.0f), power);  // as in exp2: NaN stays NaN
  return hn::Mul(hn::Div(gate, hn::Add(fill(1.0f), exp2(below))), up);
}

void swiglu_rows(const SwigluParams& params, int begin, int end) {
  for (std::int64_t token = begin; token < end; ++token) {
    const float* gate = params.gate + token * params.gate_stride;
    const float* up = params.up + token * params.up_stride;
    float* output = params.output + token * params.width;
    int i = 0;
    for (; i + kLanes <= params.width; i += kLanes) {
      store(swiglu_of(load(gate + i), load(up + i)), output + i);
    }
    for (; i < params.width; ++i) output[i] = gate[i] / (1.0f + std::exp(-gate[i])) * up[i];
  }
}

}  // namespace sinkrouter::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <algorithm>

#include "kernels/cpu/cpu.h"
#include "kernels/cpu/token_tasks.h"

namespace sinkrouter::cpu {
namespace {

HWY_EXPORT(norm_rows);
HWY_EXPORT(swiglu_rows);

}  // namespace

void rms_norm(const RmsNormParams& params, ThreadPool& threads) {
  for_token_spans(threads, params.tokens, params.width, [&](int begin, int end) {
    HWY_DYNAMIC_DISPATCH(norm_rows)(params, begin, end);
  });
}

void swiglu(const SwigluParams& params, ThreadPool& threads) {
  for_token_spans(threads, params.tokens, params.width, [&](int begin, int end) {
    HWY_DYNAMIC_DISPATCH(swiglu_rows)(params, begin, end);
  });
}

}  // namespace sinkrouter::cpu
#endif
