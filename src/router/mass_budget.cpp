#include "router/mass_budget.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>

#include "router/log_mass.h"

namespace sinkrouter {
namespace {

// Enough that an estimate of unread mass computed exactly is at most epsilon too: both sides of
// `left <= epsilon * total` may be off by kMassError.
constexpr double kBoundShrink = 1.0 - 2.5 * kMassError;
constexpr double kLeftGrowth = 1.0 + 2.5 * kMassError;
constexpr double kThresholdShrink = 1.0 - 1e-4;

constexpr float kNothing = -std::numeric_limits<float>::infinity();

int padded(int candidates) { return (candidates + kMassPadding - 1) / kMassPadding * kMassPadding; }

// All but what may be left. The background is a good enough reference for most candidates; the
// largest of them is looked for only where it is not.
MassBudget start_budget(const float* log_masses, int count, const Background& background,
                        const MassScratch& scratch) {
  constexpr double kFarBelowOverflow = 1e30;
  if (std::isnan(background.kept) || std::isnan(background.left)) return {};
  MassBudget budget;
  budget.reference = std::max(background.kept, background.left);
  if (!std::isinf(budget.reference)) {
    budget.mass = fill_masses(log_masses, count, budget.reference, scratch.masses);
    budget.readable = budget.mass < kFarBelowOverflow;
  }
  if (!budget.readable) {
    const float largest = max_or_nan(log_masses, count);
    budget.reference = std::max(budget.reference, largest);
    if (std::isnan(largest) || std::isinf(budget.reference)) return {};
    budget.readable = true;
    budget.mass = fill_masses(log_masses, count, budget.reference, scratch.masses);
  }
  budget.above_all = static_cast<float>(1.001 * budget.mass);
  return budget;
}

}  // namespace

MassScratch::MassScratch(void* memory, int candidates) {
  const int size = padded(candidates);
  masses = static_cast<float*>(memory);
  compacted = masses + size;
  needed = reinterpret_cast<std::uint64_t*>(compacted + size);
}

std::int64_t MassScratch::bytes(int candidates) {
  const std::int64_t size = padded(candidates);
  return (size * 8 + size / 64 * 8 + 63) / 64 * 64;
}

int needed_words(int candidates) { return padded(candidates) / 64; }

void MassScratch::clear_needed(int candidates) const {
  std::fill_n(needed, needed_words(candidates), 0);
}

MassBudget weigh_candidates(const float* log_masses, int count, const Background& background,
                            float epsilon, const MassScratch& scratch) {
  MassBudget budget = start_budget(log_masses, count, background, scratch);
  if (!budget.readable) return budget;
  const float reference = budget.reference;
  const double kept = std::exp(double{background.kept} - reference);
  const double left = std::exp(double{background.left} - reference);
  budget.allowed =
      double{epsilon} * (kept + left + budget.mass) * kBoundShrink - left * kLeftGrowth;
  return budget;
}

MassBudget weigh_bounds(const float* lower, const float* upper, int count, float kept,
                        float epsilon, const MassScratch& scratch) {
  MassBudget budget = start_budget(upper, count, {kept, kNothing}, scratch);
  if (!budget.readable) return budget;
  const float most = std::max(budget.reference, max_or_nan(upper, count));
  if (!(max_or_nan(lower, count) <= most)) return {};
  // The floor that keeps underflow from hiding mass must not make any certain.
  constexpr double kFloor = 1.7e-38;
  const double certain = fill_masses(lower, count, budget.reference, scratch.compacted);
  if (!(certain < std::numeric_limits<double>::infinity())) return {};
  budget.allowed =
      double{epsilon} * kBoundShrink *
      (std::exp(double{kept} - budget.reference) + std::max(0.0, certain - kFloor * count));
  return budget;
}

namespace {

// Marks the first `wanted` masses that equal `mass`.
void mark_equal(const MassScratch& scratch, float mass, int wanted) {
  for (int i = 0; wanted > 0; ++i) {
    if (scratch.masses[i] != mass) continue;
    scratch.mark(i);
    --wanted;
  }
}

}  // namespace

// Narrows the interval of masses that holds the boundary, several pivots at a time on the bits of
// the floats (which order as the floats do), until few are left to sort.
double mark_largest(const MassScratch& scratch, int count, const MassBudget& budget) {
  if (budget.allowed <= 0) {
    for (int i = 0; i < count; ++i) scratch.mark(i);
    return 0;
  }
  constexpr int kSortLimit = 12;
  const auto float_of = [](std::uint32_t bits) { return std::bit_cast<float>(bits); };
  // However many there are below this, together they may be left.
  const float negligible = std::max(static_cast<float>(budget.allowed / count * kThresholdShrink),
                                    std::numeric_limits<float>::min());
  const Compacted large = compact_masses(scratch.masses, count, negligible, scratch.compacted);

  // Leaving all below `low` is allowed, leaving all below `high` is not.
  std::uint32_t low = std::bit_cast<std::uint32_t>(negligible);
  std::uint32_t high = std::bit_cast<std::uint32_t>(budget.above_all);
  double left = large.mass_below;
  int between = large.count;
  while (between > kSortLimit && high - low > 1) {
    std::array<std::uint32_t, kPivots> bits;
    std::array<float, kPivots> pivots;
    for (int p = 0; p < kPivots; ++p) {
      bits[p] = low + static_cast<std::uint32_t>(std::uint64_t{high - low} * (p + 1) / 4);
      pivots[p] = float_of(bits[p]);
    }
    const std::array<double, kPivots> below = sum_below(scratch.compacted, between, pivots);
    const double left_below_low = left;
    for (int p = 0; p < kPivots; ++p) {
      const double mass = left_below_low + below[p];
      if (mass > budget.allowed) {
        high = bits[p];
        break;
      }
      low = bits[p];
      left = mass;
    }
    between = keep_between(scratch.compacted, between, float_of(low), float_of(high));
  }
  float* rest = scratch.compacted;
  if (high - low > 1) std::sort(rest, rest + between);
  int first = 0;  // of `rest` that is needed
  while (first < between && left + static_cast<double>(rest[first]) <= budget.allowed) {
    left += static_cast<double>(rest[first++]);
  }
  const float least = first < between ? rest[first] : float_of(high);
  const bool is_equal_left = first > 0 && first < between && rest[first - 1] == least;
  mark_at_least(scratch.masses, count, is_equal_left ? std::nextafter(least, 2 * least) : least,
                scratch.needed);
  if (is_equal_left) {
    mark_equal(scratch, least, static_cast<int>(std::count(rest + first, rest + between, least)));
  }
  return left;
}

}  // namespace sinkrouter
