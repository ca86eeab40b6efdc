// Integer products of query codes with the codes of a block, compiled once per instruction set.
#if defined(SINKROUTER_KERNELS_CPU_SKETCH_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SINKROUTER_KERNELS_CPU_SKETCH_TILE_INL_H_
#undef SINKROUTER_KERNELS_CPU_SKETCH_TILE_INL_H_
#else
#define SINKROUTER_KERNELS_CPU_SKETCH_TILE_INL_H_
#endif

#include <algorithm>
#include <cstring>

#include "base/block_size.h"
#include "kernels/cpu/sketch_shapes.h"
#include "kernels/cpu/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace sinkrouter::cpu::HWY_NAMESPACE {

// A lane is a row: its word of codes, its sum.
using Ints = hn::RebindToSigned<Floats>;
using IntVec = hn::Vec<Ints>;
using Words = hn::RebindToUnsigned<Floats>;
using WordVec = hn::Vec<Words>;

// In each lane four products, of unsigned bytes of `codes` and signed ones of `query`, are added to
// one 32-bit sum or, where the instruction set has no better, to two 16-bit ones.
using Shorts = hn::Repartition<std::int16_t, Floats>;
#if HWY_TARGET == HWY_AVX3_DL
inline constexpr bool kWideSums = true;
using SumVec = IntVec;
HWY_INLINE SumVec add_products(WordVec codes, WordVec query, SumVec sums) {
  // By name, for Highway enables the 256-bit form of this instruction only.
  asm("vpdpbusd %2, %1, %0" : "+v"(sums.raw) : "v"(codes.raw), "v"(query.raw));
  return sums;
}
HWY_INLINE IntVec add_sums(SumVec sums, IntVec total) { return hn::Add(sums, total); }
#else
inline constexpr bool kWideSums = false;
using SumVec = hn::Vec<Shorts>;

HWY_INLINE SumVec add_products(WordVec codes, WordVec query, SumVec sums) {
#if HWY_TARGET == HWY_AVX3
  return hn::Add(sums, SumVec{_mm512_maddubs_epi16(codes.raw, query.raw)});
#elif HWY_TARGET == HWY_AVX2
  return hn::Add(sums, SumVec{_mm256_maddubs_epi16(codes.raw, query.raw)});
#elif HWY_TARGET == HWY_SSE4
  return hn::Add(sums, SumVec{_mm_maddubs_epi16(codes.raw, query.raw)});
#else
  const Shorts d;
  const auto low_codes = hn::BitCast(d, hn::And(codes, hn::Set(Words(), 0x00ff00ff)));
  const auto low_query = hn::ShiftRight<8>(hn::BitCast(d, hn::ShiftLeft<8>(query)));
  const auto high_codes =
      hn::BitCast(d, hn::And(hn::ShiftRight<8>(codes), hn::Set(Words(), 0x00ff00ff)));
  const auto high_query = hn::ShiftRight<8>(hn::BitCast(d, query));
  return hn::Add(sums, hn::Add(hn::Mul(low_codes, low_query), hn::Mul(high_codes, high_query)));
#endif
}

HWY_INLINE IntVec add_sums(SumVec sums, IntVec total) {
#if HWY_ARCH_X86
  IntVec unused = hn::Zero(Ints());
  return hn::ReorderWidenMulAccumulate(Ints(), sums, hn::Set(Shorts(), 1), total, unused);
#else
  const IntVec pairs = hn::BitCast(Ints(), sums);
  const IntVec low = hn::ShiftRight<16>(hn::ShiftLeft<16>(pairs));
  return hn::Add(total, hn::Add(low, hn::ShiftRight<16>(pairs)));
#endif
}
#endif

// Words whose products a 16-bit sum takes without overflow.
template <int kBits>
constexpr int words_per_sum() {
  constexpr int kLargestProduct = ((1 << kBits) - 1) * 127;
  constexpr int kQuads = 32767 / (2 * kLargestProduct);  // a sum gets two products of each
  return kQuads / (8 / kBits);
}

// parts[h][v] += products of query h with words [begin, end) of rows kLanes * v and on.
template <int kBits, int kHeads, int kVectors>
HWY_INLINE void add_words(const std::uint32_t* codes,  // [words, kBlockSize]
                          int begin, int end,
                          const std::int8_t* queries,  // [kHeads, head_dim]
                          int head_dim, SumVec (&parts)[kHeads][kVectors]) {
  constexpr int kQuadsPerWord = 8 / kBits;
  const WordVec mask = hn::Set(Words(), ((1u << kBits) - 1) * 0x01010101u);
  for (int word = begin; word < end; ++word) {
    WordVec rest[kVectors];
    for (int v = 0; v < kVectors; ++v) {
      rest[v] = hn::LoadU(Words(), codes + word * kBlockSize + v * kLanes);
    }
    for (int quad = 0; quad < kQuadsPerWord; ++quad) {
      const std::int8_t* of_quad = queries + (word * kQuadsPerWord + quad) * 4;
      WordVec quads[kVectors];
      for (int v = 0; v < kVectors; ++v) {
        quads[v] = hn::And(rest[v], mask);
        rest[v] = hn::ShiftRight<kBits>(rest[v]);
      }
      for (int h = 0; h < kHeads; ++h) {
        std::uint32_t four;
        std::memcpy(&four, of_quad + h * head_dim, sizeof(four));
        const WordVec query = hn::Set(Words(), four);
        for (int v = 0; v < kVectors; ++v) {
          parts[h][v] = add_products(quads[v], query, parts[h][v]);
        }
      }
    }
  }
}

// sums[h][v] += products of query h with the codes of rows kLanes * v and on.
template <int kBits, int kHeads, int kVectors>
HWY_INLINE void sum_products(const std::uint32_t* codes,  // [words, kBlockSize]
                             int head_dim,
                             const std::int8_t* queries,  // [kHeads, head_dim]
                             IntVec (&sums)[kHeads][kVectors]) {
  const int words = head_dim * kBits / 32;
  if constexpr (kWideSums) {
    add_words<kBits>(codes, 0, words, queries, head_dim, sums);
  } else {
    // A single pass wherever no head is too wide for it.
    constexpr int kMostWords = words_per_sum<kBits>();
    constexpr bool kOnePass = kMostSketchDim * kBits / 32 <= kMostWords;
    for (int begin = 0; begin < words; begin += kMostWords) {
      SumVec parts[kHeads][kVectors];
      for (int h = 0; h < kHeads; ++h) {
        for (int v = 0; v < kVectors; ++v) parts[h][v] = hn::Zero(Shorts());
      }
      const int end = kOnePass ? words : std::min(words, begin + kMostWords);
      add_words<kBits>(codes, begin, end, queries, head_dim, parts);
      for (int h = 0; h < kHeads; ++h) {
        for (int v = 0; v < kVectors; ++v) sums[h][v] = add_sums(parts[h][v], sums[h][v]);
      }
      if constexpr (kOnePass) break;
    }
  }
}

}  // namespace sinkrouter::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
