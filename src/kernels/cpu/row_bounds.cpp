#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/row_bounds.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h, which includes this file once per instruction set.
#include <cmath>

#include "kernels/cpu/sketch_walk-inl.h"
#include "kernels/rounding.h"

HWY_BEFORE_NAMESPACE();
namespace sinkrouter::cpu::HWY_NAMESPACE {

// weights[row] = sqrt(sum_i (c_i - m)^2), of integer sums that are exact.
template <int kBits>
HWY_INLINE void weigh_codes(const std::uint32_t* codes, int head_dim, float* weights) {
  constexpr int kTop = (1 << kBits) - 1;
  constexpr int kQuadsPerWord = 8 / kBits;
  const int words = head_dim * kBits / 32;
  const WordVec mask = hn::Set(Words(), kTop * 0x01010101u);
  const hn::Repartition<std::uint8_t, Floats> bytes;
  const auto top = hn::BitCast(bytes, mask);
  static_assert(kMostSketchDim * kTop * kTop <= 2 * 32767);  // one sum takes it all
  for (int row = 0; row < kBlockSize; row += kLanes) {
    SumVec products = hn::Zero(hn::DFromV<SumVec>());
    for (int word = 0; word < words; ++word) {
      WordVec rest = hn::LoadU(Words(), codes + word * kBlockSize + row);
      for (int quad = 0; quad < kQuadsPerWord; ++quad) {
        const WordVec code = hn::And(rest, mask);
        rest = hn::ShiftRight<kBits>(rest);
        // (c - m)^2 = c (c - 2m) + m^2, and 2m is the largest code.
        const auto below_top = hn::Sub(hn::BitCast(bytes, code), top);
        products = add_products(code, hn::BitCast(Words(), below_top), products);
      }
    }
    const IntVec sum = add_sums(products, hn::Zero(Ints()));
    const FloatVec squares =
        hn::Add(hn::ConvertTo(Floats(), sum), fill(0.25f * kTop * kTop * head_dim));
    store(hn::Sqrt(squares), weights + row);
  }
}

// Turns logits into bounds: slack = reach * (miss + rounding * (|mean| + |scale| |w|))
//                                   + query_miss * |scale| |w|
// with reach = scale |q|, the terms of docs/theory.md.
template <int kBits>
struct BoundRows {
  HWY_INLINE void prefetch(std::int64_t index) const {
    prefetch_bytes(params.sketches.misses + index * kBlockSize, kBlockSize * sizeof(Float16));
  }

  HWY_INLINE void start_heads(std::int64_t first, int heads) {
    constexpr double kAbove = 1 + 512 * kUnitRoundoff;
    constexpr double kLeast = 1e-30;  // more than underflow can hide
    const int dim = params.kv.head_dim;
    const double scale = std::fabs(double{params.scale});
    for (int h = 0; h < heads; ++h) {
      const float* query = params.queries + (first + h) * dim;
      double squares = 0;
      for (int c = 0; c < dim; ++c) squares += double{query[c]} * query[c];
      reach[h] = static_cast<float>(scale * std::sqrt(squares) * kAbove + kLeast);
      query_miss[h] =
          static_cast<float>(scale * double{params.query_misses[first + h]} * kAbove + kLeast);
    }
    lower_of_heads = params.lower + first * params.score_stride;
    upper_of_heads = params.upper + first * params.score_stride;
  }

  HWY_INLINE void start_block(int j, std::int64_t index) {
    const int dim = params.kv.head_dim;
    lower = lower_of_heads + std::int64_t{j} * kBlockSize;
    upper = upper_of_heads + std::int64_t{j} * kBlockSize;
    const std::int64_t block_words = std::int64_t{dim} * kBits / 32 * kBlockSize;
    alignas(64) float weights[kBlockSize];
    weigh_codes<kBits>(params.sketches.codes + index * block_words, dim, weights);
    FloatVec squares = hn::Zero(Floats());
    for (int c = 0; c < dim; c += kLanes) {
      const FloatVec x = decode_e4m3(params.moments.codes + index * 2 * dim + c);
      squares = hn::MulAdd(x, x, squares);
    }
    const float mean_norm =
        std::fabs(params.moments.scales[index]) * kE4M3Factor * std::sqrt(sum_of_lanes(squares));
    const auto rounding = static_cast<float>(2 * logit_rounding(dim) + 32 * kUnitRoundoff);
    for (int row = 0; row < kBlockSize; row += kLanes) {
      const FloatVec row_scale = load(params.sketches.scales + index * kBlockSize + row);
      const FloatVec miss = load(params.sketches.misses + index * kBlockSize + row);
      const FloatVec size = hn::Mul(hn::Abs(row_scale), load(weights + row));
      store(size, sizes + row);
      store(hn::MulAdd(fill(rounding), hn::Add(fill(mean_norm), size), miss), misses + row);
    }
  }

  HWY_INLINE void put(int head, int row, FloatVec logits) const {
    constexpr float kLeast = 0x1p-120f;
    FloatVec slack = hn::MulAdd(fill(query_miss[head]), load(sizes + row), fill(kLeast));
    slack = hn::MulAdd(fill(reach[head]), load(misses + row), slack);
    // An infinite logit is an overflow and says nothing: NaN.
    slack = hn::MulAdd(logits, hn::Zero(Floats()), slack);
    const std::int64_t at = head * params.score_stride + row;
    store(hn::Sub(logits, slack), lower + at);
    store(hn::Add(logits, slack), upper + at);
  }

  const RowBoundsParams& params;
  float* lower_of_heads = nullptr;
  float* upper_of_heads = nullptr;
  float* lower = nullptr;  // of the block in hand
  float* upper = nullptr;
  float reach[kHeadBlock] = {};
  float query_miss[kHeadBlock] = {};
  alignas(64) float sizes[kBlockSize] = {};   // |scale| |w| of the block's rows
  alignas(64) float misses[kBlockSize] = {};  // what reach multiplies
};

void bound_listed(const RowBoundsParams& params, int sequence, int kv_head, int begin, int end) {
  visit_int<2, 4>(params.sketches.bits, [&]<int kBits>() {
    BoundRows<kBits> rows{params};
    walk_listed<kBits>(params, sequence, kv_head, begin, end, 0.0f, rows);
  });
}

}  // namespace sinkrouter::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/listed_blocks.h"

namespace sinkrouter::cpu {
namespace {
HWY_EXPORT(bound_listed);
}  // namespace

void row_bounds(const RowBoundsParams& params, ThreadPool& threads) {
  SR_ASSERT(params.sketches.misses != nullptr && params.query_misses != nullptr);
  for_listed_blocks(KernelOp::kRowBounds, params, threads,
                    [&](int sequence, int kv_head, int begin, int end) {
                      HWY_DYNAMIC_DISPATCH(bound_listed)(params, sequence, kv_head, begin, end);
                    });
}

}  // namespace sinkrouter::cpu
#endif
