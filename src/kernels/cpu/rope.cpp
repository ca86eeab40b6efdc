#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/rope.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h, which includes this file once per instruction set.
#include "kernels/cpu/vector-inl.h"
#include "kernels/params.h"

HWY_BEFORE_NAMESPACE();
namespace sinkrouter::cpu::HWY_NAMESPACE {

// Rotates `half` pairs of every head of one token.
void rotate_heads(float* heads, int count, int half, const float* cosines, const float* sines) {
  for (int head = 0; head < count; ++head) {
    float* low = heads + std::int64_t{head} * 2 * half;
    float* high = low + half;
    int i = 0;
    for (; i + kLanes <= half; i += kLanes) {
      const FloatVec cosine = load(cosines + i);
      const FloatVec sine = load(sines + i);
      const FloatVec a = load(low + i);
      const FloatVec b = load(high + i);
      store(hn::MulSub(a, cosine, hn::Mul(b, sine)), low + i);
      store(hn::MulAdd(b, cosine, hn::Mul(a, sine)), high + i);
    }
    for (; i < half; ++i) {
      const float a = low[i];
      const float b = high[i];
      low[i] = a * cosines[i] - b * sines[i];
      high[i] = b * cosines[i] + a * sines[i];
    }
  }
}

}  // namespace sinkrouter::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <cmath>

#include "base/check.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/token_tasks.h"

namespace sinkrouter::cpu {
namespace {

HWY_EXPORT(rotate_heads);
constexpr int kMostPairs = 128;

void rotate_token(const RopeParams& params, int token) {
  const int half = params.head_dim / 2;
  float cosines[kMostPairs];
  float sines[kMostPairs];
  for (int i = 0; i < half; ++i) {
    const double angle = params.positions[token] * params.inverse_frequency[i];
    cosines[i] = static_cast<float>(std::cos(angle) * params.attention_factor);
    sines[i] = static_cast<float>(std::sin(angle) * params.attention_factor);
  }
  HWY_DYNAMIC_DISPATCH(rotate_heads)
  (params.heads + std::int64_t{token} * params.heads_per_token * params.head_dim,
   params.heads_per_token, half, cosines, sines);
}

}  // namespace

void rope(const RopeParams& params, ThreadPool& threads) {
  SR_ASSERT(params.head_dim > 0 && params.head_dim % 2 == 0 && params.head_dim / 2 <= kMostPairs);
  // A sine costs as much as a dozen rotations.
  constexpr int kCostOfSine = 16;
  for_token_spans(threads, params.tokens, params.head_dim * kCostOfSine, [&](int begin, int end) {
    for (int token = begin; token < end; ++token) rotate_token(params, token);
  });
}

}  // namespace sinkrouter::cpu
#endif
