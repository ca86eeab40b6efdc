#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/key_box.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h, which includes this file once per instruction set.
#include "kernels/cpu/vector-inl.h"
#include "kernels/params.h"
#include "kernels/rounding.h"

HWY_BEFORE_NAMESPACE();
namespace sinkrouter::cpu::HWY_NAMESPACE {

template <typename T>
void box_columns(const KeyBoxParams& params) {
  const T* keys = static_cast<const T*>(params.keys);
  alignas(64) float least_of[kLanes];
  alignas(64) float largest_of[kLanes];
  for (int c = 0; c < params.head_dim; c += kLanes) {
    FloatVec least = load(keys + c);
    FloatVec largest = least;
    FloatVec nothing = hn::Zero(Floats());  // becomes NaN where a key is not finite
    for (int row = 0; row < kBlockSize; ++row) {
      const FloatVec key = load(keys + row * params.token_stride + c);
      least = hn::Min(least, key);
      largest = hn::Max(largest, key);
      nothing = hn::MulAdd(key, hn::Zero(Floats()), nothing);
    }
    store(hn::Add(least, nothing), least_of);
    store(hn::Add(largest, nothing), largest_of);
    for (int i = 0; i < kLanes; ++i) {
      params.box[c + i] = bfloat16_not_above(least_of[i]);
      params.box[params.head_dim + c + i] = bfloat16_not_below(largest_of[i]);
    }
  }
}

void write_box(const KeyBoxParams& params) {
  visit_dtype<float, BFloat16, Float16>(params.dtype,
                                        [&]<typename T>() { box_columns<T>(params); });
}

}  // namespace sinkrouter::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "kernels/cpu/cpu.h"

namespace sinkrouter::cpu {
namespace {
HWY_EXPORT(write_box);
}  // namespace

void key_box(const KeyBoxParams& params) {
  constexpr int kColumnMultiple = 16;
  SR_ASSERT(params.head_dim > 0 && params.head_dim % kColumnMultiple == 0);
  HWY_DYNAMIC_DISPATCH(write_box)(params);
}

}  // namespace sinkrouter::cpu
#endif
