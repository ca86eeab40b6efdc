// Decodes e4m3, compiled once per instruction set.
#if defined(SINKROUTER_KERNELS_CPU_E4M3_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SINKROUTER_KERNELS_CPU_E4M3_INL_H_
#undef SINKROUTER_KERNELS_CPU_E4M3_INL_H_
#else
#define SINKROUTER_KERNELS_CPU_E4M3_INL_H_
#endif

#include <array>
#include <bit>
#include <cstdint>

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

// Decodes kCount codes of means and as many of deviations, which come out squared: both 2^-8 times
// their value, before squaring. Elements of either are stored in an order of their own, that of
// moment_index(), which spares shuffles.
#if HWY_TARGET == HWY_AVX3_DL
// Bytes of the bf16 numbers that codes without a sign stand for, which hold them exactly.
struct MomentBytes {
  std::array<std::uint8_t, 128> high;
  std::array<std::uint8_t, 128> low;
};

template <bool kSquared>
constexpr MomentBytes moment_bytes() {
  MomentBytes bytes{};
  for (unsigned code = 0; code < 128; ++code) {
    const unsigned exponent = code / 8;
    float value = static_cast<float>(exponent == 0 ? code % 8 : 8 + code % 8) * 0x1p-17f;
    for (unsigned e = 1; e < exponent; ++e) value *= 2;
    if (kSquared) value *= value;
    const auto bits = std::bit_cast<std::uint32_t>(value);
    bytes.high[code] = static_cast<std::uint8_t>(bits >> 24);
    bytes.low[code] = static_cast<std::uint8_t>(bits >> 16);
  }
  return bytes;
}
alignas(64) inline constexpr MomentBytes kMeanBytes = moment_bytes<false>();
alignas(64) inline constexpr MomentBytes kSquareBytes = moment_bytes<true>();

inline constexpr int kMomentVector = 64;  // codes in one vector

inline int moment_index(int i, int n) {
  if (i >= n / kMomentVector * kMomentVector) return i;
  const int within = i % kMomentVector;
  return i - within + within / 8 % 2 * 32 + within % 2 * 16 + within / 16 * 4 + within % 8 / 2;
}

// Four vectors from the bytes of bf16 numbers.
HWY_INLINE void store_halves(__m512i high, __m512i low, float* to) {
  const Floats d;
  const hn::Repartition<std::uint32_t, Floats> du;
  for (const __m512i pairs : {_mm512_unpacklo_epi8(low, high), _mm512_unpackhi_epi8(low, high)}) {
    const hn::Vec<decltype(du)> bits{pairs};
    store(hn::BitCast(d, hn::ShiftLeft<16>(bits)), to);
    store(hn::BitCast(d, hn::And(bits, hn::Set(du, 0xffff0000u))), to + kLanes);
    to += 2 * kLanes;
  }
}

HWY_INLINE __m512i look_up(const std::array<std::uint8_t, 128>& table, __m512i codes) {
  return _mm512_permutex2var_epi8(_mm512_load_si512(table.data()), codes,
                                  _mm512_load_si512(table.data() + 64));
}
#else
inline constexpr int kMomentVector = 1 << 30;  // none

inline int moment_index(int i, int) { return i; }
#endif

template <int kCount>
HWY_INLINE void decode_moments(const std::uint8_t* means, const std::uint8_t* deviations,
                               float* decoded_means, float* squares) {
  int c = 0;
#if HWY_TARGET == HWY_AVX3_DL
  for (; c + kMomentVector <= kCount; c += kMomentVector) {
    const __m512i mean = _mm512_loadu_si512(means + c);
    const __m512i sign = _mm512_set1_epi8(static_cast<char>(0x80));
    const __m512i high = look_up(kMeanBytes.high, mean);
    store_halves(_mm512_or_si512(high, _mm512_and_si512(mean, sign)), look_up(kMeanBytes.low, mean),
                 decoded_means + c);
    const __m512i deviation = _mm512_loadu_si512(deviations + c);
    store_halves(look_up(kSquareBytes.high, deviation), look_up(kSquareBytes.low, deviation),
                 squares + c);
  }
#endif
  for (; c < kCount; c += kLanes) {
    const FloatVec deviation = decode_e4m3(deviations + c);
    store(decode_e4m3(means + c), decoded_means + c);
    store(hn::Mul(deviation, deviation), squares + c);
  }
}

}  // namespace sinkrouter::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
