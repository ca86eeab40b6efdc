#include "router/log_mass.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "router/log_mass.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <numbers>

#include "hwy/contrib/math/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace sinkrouter::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Floats = hn::ScalableTag<float>;

// The last, partial vector of an array, filled up with `filler`.
struct Tail {
  HWY_ALIGN float lanes[hn::MaxLanes(Floats())];

  Tail(const float* values, int count, float filler) {
    std::fill(std::copy(values, values + count, lanes), std::end(lanes), filler);
  }
};

float max_or_nan(const float* values, int count) {
  const Floats d;
  const int lanes = static_cast<int>(hn::Lanes(d));
  const float lowest = -std::numeric_limits<float>::infinity();
  auto largest = hn::Set(d, lowest);
  auto is_nan = hn::IsNaN(largest);
  int i = 0;
  for (; i + lanes <= count; i += lanes) {
    const auto v = hn::LoadU(d, values + i);
    is_nan = hn::Or(is_nan, hn::IsNaN(v));
    largest = hn::Max(largest, v);
  }
  const Tail tail(values + i, count - i, lowest);
  const auto v = hn::Load(d, tail.lanes);
  is_nan = hn::Or(is_nan, hn::IsNaN(v));
  largest = hn::Max(largest, v);
  if (!hn::AllFalse(d, is_nan)) return std::numeric_limits<float>::quiet_NaN();
  return hn::GetLane(hn::MaxOfLanes(d, largest));
}

// Sums non-negative floats: short runs in each lane, which cost little precision, then doubles.
class RunningSum {
 public:
  RunningSum() : run_(hn::Zero(Floats())) {}

  void add(hn::Vec<Floats> v) {
    run_ = hn::Add(run_, v);
    if (++length_ == kRunLength) flush();
  }
  double total() {
    flush();
    return total_;
  }

 private:
  static constexpr int kRunLength = 16;

  void flush() {
    const Floats d;
    total_ += static_cast<double>(hn::GetLane(hn::SumOfLanes(d, run_)));
    run_ = hn::Zero(d);
    length_ = 0;
  }

  hn::Vec<Floats> run_;
  int length_ = 0;
  double total_ = 0;
};

int padded(int count) { return (count + kMassPadding - 1) / kMassPadding * kMassPadding; }

void pad(float* masses, int count) { std::fill(masses + count, masses + padded(count), 0.0f); }

// e^x for x from -87 to 88, infinite at 89, NaN for NaN, to 1.4e-6 relative: the constant's
// rounding times 87, and 2e-7 of the polynomial.
HWY_INLINE hn::Vec<Floats> exp_of(hn::Vec<Floats> x) {
  const Floats d;
  const hn::RebindToUnsigned<Floats> du;
  const auto constant = [d](float value) HWY_ATTR { return hn::Set(d, value); };
  const auto log2e = constant(std::numbers::log2e_v<float>);
  // Adding this rounds to an integer whose biased exponent lands in the lowest bits.
  const auto rounder = constant(12582912.0f + 127.0f);
  const auto shifted = hn::MulAdd(x, log2e, rounder);
  const auto part = hn::MulSub(x, log2e, hn::Sub(shifted, rounder));
  auto poly = hn::MulAdd(constant(1.3276472454890609e-3f), part, constant(9.675540961325169e-3f));
  poly = hn::MulAdd(poly, part, constant(5.550713092088699e-2f));
  poly = hn::MulAdd(poly, part, constant(0.24022120237350464f));
  poly = hn::MulAdd(poly, part, constant(0.6931469440460205f));
  poly = hn::MulAdd(poly, part, constant(1.0f));
  return hn::Mul(poly, hn::BitCast(d, hn::ShiftLeft<23>(hn::BitCast(du, shifted))));
}

double fill_masses(const float* log_masses, int count, float reference, float* masses) {
  const Floats d;
  const int lanes = static_cast<int>(hn::Lanes(d));
  const auto origin = hn::Set(d, reference);
  const auto floor = hn::Set(d, -87.0f);
  const auto overflow = hn::Set(d, 89.0f);
  // On x86 the second operand wins when either is NaN.
  const auto mass = [&](auto log_mass) HWY_ATTR {
    return exp_of(hn::Min(overflow, hn::Max(floor, hn::Sub(log_mass, origin))));
  };
  RunningSum sum;
  int i = 0;
  for (; i + lanes <= count; i += lanes) {
    const auto m = mass(hn::LoadU(d, log_masses + i));
    hn::Store(m, d, masses + i);
    sum.add(m);
  }
  if (i < count) {
    const Tail tail(log_masses + i, count - i, reference);
    const auto valid = hn::FirstN(d, static_cast<std::size_t>(count - i));
    const auto m = hn::IfThenElseZero(valid, mass(hn::Load(d, tail.lanes)));
    hn::Store(m, d, masses + i);
    sum.add(m);
  }
  pad(masses, count);
  return sum.total();
}

void add_run_sums(const float* masses, int count, int run, float factor, float* sums) {
  const Floats d;
  const int lanes = static_cast<int>(hn::Lanes(d));
  for (int begin = 0; begin < count; begin += run) {
    auto sum = hn::Load(d, masses + begin);
    for (int i = lanes; i < run; i += lanes) sum = hn::Add(sum, hn::Load(d, masses + begin + i));
    *sums++ += factor * hn::GetLane(hn::SumOfLanes(d, sum));
  }
}

// Appends the lanes of `v` that `mask` selects to out; returns how many. May write up to a whole
// vector. Highway's Compress is an instruction from AVX-512 on; below, g++ copies its table of
// shuffles at every call, and a plain loop is several times faster.
template <typename D, typename V, typename M>
int append_selected(D d, V v, M mask, hn::TFromD<D>* out) {
  if constexpr (HWY_TARGET <= HWY_AVX3) {
    hn::StoreU(hn::Compress(v, mask), d, out);
    return static_cast<int>(hn::CountTrue(d, mask));
  } else {
    if (hn::AllFalse(d, mask)) return 0;
    HWY_ALIGN hn::TFromD<D> lanes[hn::MaxLanes(D())];
    std::uint8_t bits[8];
    hn::Store(v, d, lanes);
    hn::StoreMaskBits(d, mask, bits);
    int count = 0;
    for (std::size_t i = 0; i < hn::Lanes(d); ++i) {
      out[count] = lanes[i];
      count += bits[i / 8] >> (i % 8) & 1;
    }
    return count;
  }
}

Compacted compact_masses(const float* masses, int count, float threshold, float* out) {
  const Floats d;
  const int lanes = static_cast<int>(hn::Lanes(d));
  const auto limit = hn::Set(d, threshold);
  Compacted result;
  RunningSum below;
  for (int i = 0; i < count; i += lanes) {
    const auto mass = hn::Load(d, masses + i);
    const auto is_above = hn::Ge(mass, limit);
    below.add(hn::IfThenZeroElse(is_above, mass));
    result.count += append_selected(d, mass, is_above, out + result.count);
  }
  pad(out, result.count);
  result.mass_below = below.total();
  return result;
}

int keep_between(float* masses, int count, float low, float high) {
  const Floats d;
  const int lanes = static_cast<int>(hn::Lanes(d));
  const auto least = hn::Set(d, low);
  const auto limit = hn::Set(d, high);
  int kept = 0;
  for (int i = 0; i < count; i += lanes) {
    const auto mass = hn::Load(d, masses + i);
    const auto inside = hn::And(hn::Ge(mass, least), hn::Lt(mass, limit));
    kept += append_selected(d, mass, inside, masses + kept);
  }
  pad(masses, kept);
  return kept;
}

std::array<double, kPivots> sum_below(const float* masses, int count,
                                      const std::array<float, kPivots>& pivots) {
  const Floats d;
  const int lanes = static_cast<int>(hn::Lanes(d));
  static_assert(kPivots == 3);
  const auto pivot0 = hn::Set(d, pivots[0]);
  const auto pivot1 = hn::Set(d, pivots[1]);
  const auto pivot2 = hn::Set(d, pivots[2]);
  RunningSum sum0;
  RunningSum sum1;
  RunningSum sum2;
  for (int i = 0; i < count; i += lanes) {
    const auto mass = hn::Load(d, masses + i);
    sum0.add(hn::IfThenElseZero(hn::Lt(mass, pivot0), mass));
    sum1.add(hn::IfThenElseZero(hn::Lt(mass, pivot1), mass));
    sum2.add(hn::IfThenElseZero(hn::Lt(mass, pivot2), mass));
  }
  return {sum0.total(), sum1.total(), sum2.total()};
}

void mark_at_least(const float* masses, int count, float threshold, std::uint64_t* words) {
  const Floats d;
  const int lanes = static_cast<int>(hn::Lanes(d));
  const auto limit = hn::Set(d, threshold);
  for (int begin = 0; begin < count; begin += 64) {
    std::uint64_t word = 0;
    if (lanes >= 8) {
      std::uint8_t bytes[64 / 8];
      for (int i = 0; i < 64; i += lanes) {
        hn::StoreMaskBits(d, hn::Ge(hn::Load(d, masses + begin + i), limit), bytes + i / 8);
      }
      std::memcpy(&word, bytes, sizeof(word));
    } else {
      for (int i = 0; i < 64; ++i) word |= std::uint64_t{masses[begin + i] >= threshold} << i;
    }
    words[begin / 64] |= word;
  }
}

void add_log_pairs(const float* in, int pairs, float* out) {
  const Floats d;
  const int lanes = static_cast<int>(hn::Lanes(d));
  for (int i = 0; i < pairs; i += lanes) {
    hn::Vec<Floats> a;
    hn::Vec<Floats> b;
    hn::LoadInterleaved2(d, in + 2 * i, a, b);
    const auto larger = hn::Max(a, b);
    const auto smaller = hn::Min(a, b);
    // Equal infinities have no difference.
    const auto gap = hn::IfThenZeroElse(hn::Eq(a, b), hn::Sub(smaller, larger));
    const auto sum = hn::Add(larger, hn::Log1p(d, hn::Exp(d, gap)));
    const auto is_nan = hn::Or(hn::IsNaN(a), hn::IsNaN(b));
    hn::StoreU(hn::IfThenElse(is_nan, hn::NaN(d), sum), d, out + i);
  }
}

}  // namespace sinkrouter::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace sinkrouter {

HWY_EXPORT(max_or_nan);
HWY_EXPORT(fill_masses);
HWY_EXPORT(add_run_sums);
HWY_EXPORT(compact_masses);
HWY_EXPORT(keep_between);
HWY_EXPORT(sum_below);
HWY_EXPORT(mark_at_least);
HWY_EXPORT(add_log_pairs);

float max_or_nan(const float* values, int count) {
  return HWY_DYNAMIC_DISPATCH(max_or_nan)(values, count);
}

double fill_masses(const float* log_masses, int count, float reference, float* masses) {
  return HWY_DYNAMIC_DISPATCH(fill_masses)(log_masses, count, reference, masses);
}

void add_run_sums(const float* masses, int count, int run, float factor, float* sums) {
  HWY_DYNAMIC_DISPATCH(add_run_sums)(masses, count, run, factor, sums);
}

Compacted compact_masses(const float* masses, int count, float threshold, float* out) {
  return HWY_DYNAMIC_DISPATCH(compact_masses)(masses, count, threshold, out);
}

int keep_between(float* masses, int count, float low, float high) {
  return HWY_DYNAMIC_DISPATCH(keep_between)(masses, count, low, high);
}

std::array<double, kPivots> sum_below(const float* masses, int count,
                                      const std::array<float, kPivots>& pivots) {
  return HWY_DYNAMIC_DISPATCH(sum_below)(masses, count, pivots);
}

void mark_at_least(const float* masses, int count, float threshold, std::uint64_t* words) {
  HWY_DYNAMIC_DISPATCH(mark_at_least)(masses, count, threshold, words);
}

void add_log_pairs(const float* in, int pairs, float* out) {
  HWY_DYNAMIC_DISPATCH(add_log_pairs)(in, pairs, out);
}

}  // namespace sinkrouter
#endif
