// Decodes e4m3, compiled once per instruction set.
#if defined(SINKROUTER_KERNELS_CPU_E4M3_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SINKROUTER_KERNELS_CPU_E4M3_INL_H_
#undef SINKROUTER_KERNELS_CPU_E4M3_INL_H_
#else
#define SINKROUTER_KERNELS_CPU_E4M3_INL_H_
#endif

#include "kernels/cpu/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace sinkrouter::cpu::HWY_NAMESPACE {

// decode_e4m3() leaves this factor to whoever scales the result.
inline constexpr float kE4M3Factor = 256.0f;

// 2^-8 times the value of kLanes e4m3 codes, which are fp16 with the exponent's top bit missing:
// fp16 takes subnormal codes along. NaN comes out as 480 / 256.
HWY_INLINE FloatVec decode_e4m3(const std::uint8_t* codes) {
  const Floats d;
  const hn::Rebind<std::int8_t, Floats> d8;
  const hn::Rebind<std::int16_t, Floats> d16;
  const hn::Rebind<hwy::float16_t, Floats> half;
  const auto narrow = hn::LoadU(d8, reinterpret_cast<const std::int8_t*>(codes));
  // Extending the sign puts a copy of it where the missing bit belongs.
  const auto bits = hn::ShiftLeft<7>(hn::PromoteTo(d16, narrow));
  return hn::PromoteTo(d, hn::BitCast(half, hn::And(bits, hn::Set(d16, ~std::int16_t{0x4000}))));
}

}  // namespace sinkrouter::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
