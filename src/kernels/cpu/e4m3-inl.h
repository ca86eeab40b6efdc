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

// Where the codes of a vector go so that the vectors they become are in their order: byte 16 * lane
// + 8 * half + 2 * i + odd takes element 4 * lane + i of vector 2 * half + odd.
constexpr std::array<std::uint8_t, 64> moment_order() {
  std::array<std::uint8_t, 64> order{};
  for (int byte = 0; byte < 64; ++byte) {
    const int vector = byte / 8 % 2 * 2 + byte % 2;
    order[byte] = static_cast<std::uint8_t>(16 * vector + byte / 16 * 4 + byte % 8 / 2);
  }
  return order;
}
alignas(64) inline constexpr std::array<std::uint8_t, 64> kMomentOrder = moment_order();

HWY_INLINE __m512i load_moments(const std::uint8_t* codes) {
  return _mm512_permutexvar_epi8(_mm512_load_si512(kMomentOrder.data()), _mm512_loadu_si512(codes));
}

// Four vectors from the bytes of bf16 numbers, times `scale`.
template <typename Scale>
HWY_INLINE void store_halves(__m512i high, __m512i low, const Scale& scale, float* to) {
  const Floats d;
  const hn::Repartition<std::uint32_t, Floats> du;
  for (const __m512i pairs : {_mm512_unpacklo_epi8(low, high), _mm512_unpackhi_epi8(low, high)}) {
    const hn::Vec<decltype(du)> bits{pairs};
    store(scale(hn::BitCast(d, hn::ShiftLeft<16>(bits))), to);
    store(scale(hn::BitCast(d, hn::And(bits, hn::Set(du, 0xffff0000u)))), to + kLanes);
    to += 2 * kLanes;
  }
}

HWY_INLINE __m512i look_up(const std::array<std::uint8_t, 128>& table, __m512i codes) {
  return _mm512_permutex2var_epi8(_mm512_load_si512(table.data()), codes,
                                  _mm512_load_si512(table.data() + 64));
}
#endif

// Decodes kCount codes of means, to 2^-8 times their value, and as many of deviations, to `scale`
// times the square of that.
template <int kCount>
HWY_INLINE void decode_moments(const std::uint8_t* means, const std::uint8_t* deviations,
                               FloatVec scale, float* decoded_means, float* squares) {
  int c = 0;
#if HWY_TARGET == HWY_AVX3_DL
  const auto as_is = [](FloatVec x) HWY_ATTR { return x; };
  const auto scaled = [&](FloatVec x) HWY_ATTR { return hn::Mul(scale, x); };
  for (; c + 64 <= kCount; c += 64) {
    const __m512i mean = load_moments(means + c);
    const __m512i sign = _mm512_set1_epi8(static_cast<char>(0x80));
    const __m512i high = look_up(kMeanBytes.high, mean);
    store_halves(_mm512_or_si512(high, _mm512_and_si512(mean, sign)), look_up(kMeanBytes.low, mean),
                 as_is, decoded_means + c);
    const __m512i deviation = load_moments(deviations + c);
    store_halves(look_up(kSquareBytes.high, deviation), look_up(kSquareBytes.low, deviation),
                 scaled, squares + c);
  }
#endif
  for (; c < kCount; c += kLanes) {
    const FloatVec deviation = decode_e4m3(deviations + c);
    store(decode_e4m3(means + c), decoded_means + c);
    store(hn::Mul(hn::Mul(scale, deviation), deviation), squares + c);
  }
}

}  // namespace sinkrouter::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
