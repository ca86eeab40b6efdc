// Vector helpers that every kernel shares, compiled once per instruction set.
#if defined(SINKROUTER_KERNELS_CPU_VECTOR_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SINKROUTER_KERNELS_CPU_VECTOR_INL_H_
#undef SINKROUTER_KERNELS_CPU_VECTOR_INL_H_
#else
#define SINKROUTER_KERNELS_CPU_VECTOR_INL_H_
#endif

#include <hwy/highway.h>

#include <cstdint>
#include <type_traits>

#include "base/dtype.h"

HWY_BEFORE_NAMESPACE();
namespace sinkrouter::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Floats = hn::ScalableTag<float>;
using FloatVec = hn::Vec<Floats>;
inline constexpr int kLanes = static_cast<int>(hn::MaxLanes(Floats()));
// AVX-512 has 32 vector registers, the others 16: tiles are sized so that accumulators fit.
inline constexpr bool kManyRegisters = HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL;

HWY_INLINE FloatVec load(const float* from) { return hn::LoadU(Floats(), from); }
HWY_INLINE FloatVec load(const BFloat16* from) {
  const hn::Rebind<hwy::bfloat16_t, Floats> narrow;
  return hn::PromoteTo(Floats(), hn::LoadU(narrow, reinterpret_cast<const hwy::bfloat16_t*>(from)));
}
HWY_INLINE FloatVec load(const Float16* from) {
  const Floats d;
#if HWY_TARGET == HWY_SSE4
  // Without F16C Highway takes infinities and NaN for numbers.
  const hn::RebindToUnsigned<Floats> du;
  const hn::Rebind<std::uint16_t, Floats> narrow;
  const auto bits =
      hn::PromoteTo(du, hn::LoadU(narrow, reinterpret_cast<const std::uint16_t*>(from)));
  const auto magnitude = hn::ShiftLeft<13>(hn::And(bits, hn::Set(du, 0x7fff)));
  const auto sign = hn::ShiftLeft<16>(hn::And(bits, hn::Set(du, 0x8000)));
  const FloatVec scaled = hn::Mul(hn::BitCast(d, magnitude), hn::Set(d, 0x1p112f));
  const hn::RebindToSigned<Floats> di;
  const auto above = hn::Gt(hn::BitCast(di, magnitude), hn::Set(di, 0x0f7fffff));
  const auto special =
      hn::And(hn::BitCast(du, hn::VecFromMask(di, above)), hn::Set(du, 0x7f800000));
  return hn::BitCast(d, hn::Or(hn::Or(hn::BitCast(du, scaled), special), sign));
#else
  const hn::Rebind<hwy::float16_t, Floats> narrow;
  return hn::PromoteTo(d, hn::LoadU(narrow, reinterpret_cast<const hwy::float16_t*>(from)));
#endif
}
HWY_INLINE void store(FloatVec v, float* to) { hn::StoreU(v, Floats(), to); }
HWY_INLINE FloatVec fill(float x) { return hn::Set(Floats(), x); }

// Reads two vectors' worth of elements in whatever order is cheapest: natural, or for bf16 the even
// ones and then the odd ones, which takes no shuffles.
HWY_INLINE void load_pair(const float* from, FloatVec& first, FloatVec& second) {
  first = load(from);
  second = load(from + kLanes);
}
HWY_INLINE void load_pair(const Float16* from, FloatVec& first, FloatVec& second) {
  first = load(from);
  second = load(from + kLanes);
}
HWY_INLINE void load_pair(const BFloat16* from, FloatVec& first, FloatVec& second) {
  const Floats d;
  const hn::RebindToUnsigned<Floats> du;
  const hn::Repartition<std::uint16_t, Floats> d16;
  const auto bits = hn::BitCast(du, hn::LoadU(d16, reinterpret_cast<const std::uint16_t*>(from)));
  first = hn::BitCast(d, hn::ShiftLeft<16>(bits));
  second = hn::BitCast(d, hn::And(bits, hn::Set(du, 0xffff0000u)));
}

// Copies n floats, times `factor`, into the order that load_pair<T>() reads in, a last odd vector
// in natural order, and back.
template <typename T>
HWY_INLINE void copy_to_pairs(const float* from, int n, float factor, float* to) {
  const Floats d;
  int i = 0;
  if constexpr (std::is_same_v<T, BFloat16>) {
    for (; i + 2 * kLanes <= n; i += 2 * kLanes) {
      FloatVec even;
      FloatVec odd;
      hn::LoadInterleaved2(d, from + i, even, odd);
      store(hn::Mul(even, fill(factor)), to + i);
      store(hn::Mul(odd, fill(factor)), to + i + kLanes);
    }
  }
  for (; i < n; i += kLanes) store(hn::Mul(load(from + i), fill(factor)), to + i);
}
template <typename T>
HWY_INLINE void copy_from_pairs(const float* from, int n, float* to) {
  const Floats d;
  int i = 0;
  if constexpr (std::is_same_v<T, BFloat16>) {
    for (; i + 2 * kLanes <= n; i += 2 * kLanes) {
      hn::StoreInterleaved2(load(from + i), load(from + i + kLanes), d, to + i);
    }
  }
  for (; i < n; i += kLanes) store(load(from + i), to + i);
}

// 2^x to about 1.5e-7 relative for x <= 127; exactly 0 for x <= -127; NaN stays NaN.
HWY_INLINE FloatVec exp2(FloatVec x) {
  const Floats d;
  const hn::RebindToUnsigned<Floats> du;
  // Adding this rounds to an integer whose biased exponent lands in the lowest bits.
  const FloatVec rounder = fill(12582912.0f + 127.0f);
  x = hn::Max(fill(-127.0f), x);  // on x86 the second operand wins when either is NaN
  const FloatVec shifted = hn::Add(x, rounder);
  const FloatVec part = hn::Sub(x, hn::Sub(shifted, rounder));
  FloatVec poly = hn::MulAdd(fill(1.3276472454890609e-3f), part, fill(9.675540961325169e-3f));
  poly = hn::MulAdd(poly, part, fill(5.550713092088699e-2f));
  poly = hn::MulAdd(poly, part, fill(0.24022120237350464f));
  poly = hn::MulAdd(poly, part, fill(0.6931469440460205f));
  poly = hn::MulAdd(poly, part, fill(1.0f));
  return hn::Mul(poly, hn::BitCast(d, hn::ShiftLeft<23>(hn::BitCast(du, shifted))));
}

template <class D, class Combine>
HWY_INLINE auto fold_to_128(D d, hn::Vec<D> v, Combine combine) {
  if constexpr (hn::MaxLanes(d) * sizeof(float) <= 16) {
    return v;
  } else {
    const hn::Half<D> half;
    return fold_to_128(half, combine(hn::LowerHalf(half, v), hn::UpperHalf(half, v)), combine);
  }
}

// to[i] = all lanes of the i-th vector under `combine`.
template <class Combine>
HWY_INLINE void store_four_folds(FloatVec a, FloatVec b, FloatVec c, FloatVec e, Combine combine,
                                 float* to) {
  const Floats d;
  const hn::Repartition<double, Floats> dd;
  const FloatVec ab = combine(hn::InterleaveLower(d, a, b), hn::InterleaveUpper(d, a, b));
  const FloatVec ce = combine(hn::InterleaveLower(d, c, e), hn::InterleaveUpper(d, c, e));
  const auto ab_pairs = hn::BitCast(dd, ab);
  const auto ce_pairs = hn::BitCast(dd, ce);
  const FloatVec all = combine(hn::BitCast(d, hn::InterleaveLower(dd, ab_pairs, ce_pairs)),
                               hn::BitCast(d, hn::InterleaveUpper(dd, ab_pairs, ce_pairs)));
  hn::StoreU(fold_to_128(d, all, combine), hn::Full128<float>(), to);
}

struct Sum {
  template <class V>
  HWY_INLINE V operator()(V a, V b) const {
    return hn::Add(a, b);
  }
};
struct Largest {
  template <class V>
  HWY_INLINE V operator()(V a, V b) const {
    return hn::Max(a, b);
  }
};

HWY_INLINE float sum_of_lanes(FloatVec v) { return hn::GetLane(hn::SumOfLanes(Floats(), v)); }
HWY_INLINE float max_of_lanes(FloatVec v) { return hn::GetLane(hn::MaxOfLanes(Floats(), v)); }

}  // namespace sinkrouter::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
