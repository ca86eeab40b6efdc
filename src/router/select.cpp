#include "router/select.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/check.h"
#include "router/log_mass.h"

namespace sinkrouter {
namespace {

// Enough that an estimate of unread mass computed exactly is at most epsilon too: both sides of
// `left <= epsilon * total` may be off by kMassError.
constexpr double kBoundShrink = 1.0 - 2.5 * kMassError;
constexpr double kThresholdShrink = 1.0 - 1e-4;

int padded(int granules) { return (granules + kMassPadding - 1) / kMassPadding * kMassPadding; }

// Candidates are the granules [head_end, tail_begin), numbered from 0 here.
struct Scratch {
  float* masses;          // [padded]
  float* compacted;       // [padded]
  std::int32_t* indices;  // [padded]
  std::uint64_t* needed;  // [padded / 64]: bit i set when some q head needs candidate i

  Scratch(void* memory, int granules) {
    const int size = padded(granules);
    masses = static_cast<float*>(memory);
    compacted = masses + size;
    indices = reinterpret_cast<std::int32_t*>(compacted + size);
    needed = reinterpret_cast<std::uint64_t*>(indices + size);
  }
  static std::int64_t bytes(int granules) {
    const std::int64_t size = padded(granules);
    return size * 12 + size / 64 * 8;
  }
};

void set_bit(std::uint64_t* words, int index) {
  words[index / 64] |= std::uint64_t{1} << (index % 64);
}

// What one q head may leave unread. Masses are relative to the largest log-mass or kept_lse.
struct Budget {
  bool readable = false;  // false: the estimates say nothing, read everything
  double mass = 0;        // of all candidates
  double allowed = 0;     // may be left
  float above_all = 0;    // larger than any candidate's mass
};

Budget weigh_candidates(const float* log_masses, int count, float kept_lse, float epsilon,
                        float* masses) {
  const float largest = max_or_nan(log_masses, count);
  if (std::isnan(largest) || std::isnan(kept_lse)) return {};
  const float reference = std::max(largest, kept_lse);
  if (std::isinf(reference)) return {};
  Budget budget;
  budget.readable = true;
  budget.mass = fill_masses(log_masses, count, reference, masses);
  const double kept_mass = std::exp(static_cast<double>(kept_lse) - reference);
  budget.allowed = double{epsilon} * (kept_mass + budget.mass) * kBoundShrink;
  budget.above_all = 1.001f * std::exp(std::max(largest - reference, -87.0f));
  return budget;
}

// Marks the fewest of the largest masses (lower index first among equals) that bring what is left
// from more than budget.allowed down to it. Narrows the interval of masses that holds the boundary,
// several pivots at a time on the bits of the floats (which order as the floats do), until few are
// left to sort.
void mark_largest(const Scratch& scratch, int count, const Budget& budget) {
  constexpr int kSortLimit = 48;
  const auto float_of = [](std::uint32_t bits) { return std::bit_cast<float>(bits); };
  // However many there are below this, together they may be left.
  const float negligible = std::max(static_cast<float>(budget.allowed / count * kThresholdShrink),
                                    std::numeric_limits<float>::min());
  const Compacted large = compact_masses(scratch.masses, count, negligible, scratch.compacted);

  // Leaving all below `low` is allowed, leaving all below `high` is not.
  std::uint32_t low = std::bit_cast<std::uint32_t>(negligible);
  std::uint32_t high = std::bit_cast<std::uint32_t>(budget.above_all);
  double left = large.mass_below;
  int below_low = 0;
  int below_high = large.count;
  while (below_high - below_low > kSortLimit && high - low > 1) {
    std::array<std::uint32_t, kPivots> bits;
    std::array<float, kPivots> pivots;
    for (int p = 0; p < kPivots; ++p) {
      bits[p] = low + static_cast<std::uint32_t>(std::uint64_t{high - low} * (p + 1) / 4);
      pivots[p] = float_of(bits[p]);
    }
    const BelowPivots below = sum_below(scratch.compacted, large.count, pivots);
    for (int p = 0; p < kPivots; ++p) {
      const double mass = large.mass_below + below.mass[p];
      if (mass > budget.allowed) {
        high = bits[p];
        below_high = below.count[p];
        break;
      }
      low = bits[p];
      below_low = below.count[p];
      left = mass;
    }
  }
  mark_at_least(scratch.masses, count, float_of(high), scratch.needed);

  const float* masses = scratch.masses;
  std::int32_t* indices = scratch.indices;
  int rest = indices_between(masses, count, float_of(low), float_of(high), indices);
  if (high - low > 1) {
    std::sort(indices, indices + rest, [&](std::int32_t a, std::int32_t b) {
      return masses[a] != masses[b] ? masses[a] > masses[b] : a < b;
    });
  }
  while (rest > 0 && left + static_cast<double>(masses[indices[rest - 1]]) <= budget.allowed) {
    left += static_cast<double>(masses[indices[--rest]]);
  }
  for (int i = 0; i < rest; ++i) set_bit(scratch.needed, indices[i]);
}

// Calls fn(granule) for the pinned granules that are neither in the head nor in the tail.
template <typename Fn>
void for_each_pinned(const KeptSet& kept, Fn&& fn) {
  for (std::int32_t block : kept.pinned_blocks) {
    const GranuleRange range = kept.granules_of(block);
    const int end = std::min(range.last + 1, kept.tail_begin);
    for (int g = std::max(range.first, kept.head_end); g < end; ++g) fn(g);
  }
}

// The mass of pinned granules is in kept_lse already.
void silence_pinned(const KeptSet& kept, const GroupEstimates& estimates) {
  constexpr float kNothing = -std::numeric_limits<float>::infinity();
  for_each_pinned(kept, [&](int g) {
    for (int q = 0; q < estimates.group; ++q) {
      estimates.log_masses[q * estimates.stride + g] = kNothing;
    }
  });
}

Selection everything(const KeptSet& kept, std::int32_t* list) {
  const bool routed = write_kept_list(kept, list) == kept.granules;
  return {select_dense(kept.granules, list).count, routed};
}

}  // namespace

std::int64_t select_scratch_bytes(int granules) {
  return (Scratch::bytes(granules) + 63) / 64 * 64;
}

Selection select_margin(const KeptSet& kept, const GroupEstimates& estimates, float epsilon,
                        void* scratch_memory, std::int32_t* list) {
  if (!(epsilon > 0.0f)) return everything(kept, list);
  const int candidates = kept.tail_begin - kept.head_end;
  const int words = padded(candidates) / 64;
  const Scratch scratch(scratch_memory, kept.granules);
  std::fill_n(scratch.needed, words, 0);
  silence_pinned(kept, estimates);
  bool routed = true;
  for (int q = 0; q < estimates.group; ++q) {
    const Budget budget =
        weigh_candidates(estimates.log_masses + q * estimates.stride + kept.head_end, candidates,
                         estimates.kept_lse[q], epsilon, scratch.masses);
    if (!budget.readable) return everything(kept, list);
    if (budget.mass <= budget.allowed) continue;
    mark_largest(scratch, candidates, budget);
    routed = false;
  }
  for_each_pinned(kept, [&](int g) { set_bit(scratch.needed, g - kept.head_end); });

  int count = 0;
  for (int g = 0; g < kept.head_end; ++g) list[count++] = g;
  for (int word = 0; word < words; ++word) {
    for (std::uint64_t rest = scratch.needed[word]; rest != 0; rest &= rest - 1) {
      list[count++] = kept.head_end + word * 64 + std::countr_zero(rest);
    }
  }
  for (int g = kept.tail_begin; g < kept.granules; ++g) list[count++] = g;
  return {count, routed};
}

Selection select_route(const KeptSet& kept, const GroupEstimates& estimates, float epsilon,
                       void* scratch_memory, std::int32_t* list) {
  if (!(epsilon > 0.0f)) return everything(kept, list);
  const Scratch scratch(scratch_memory, kept.granules);
  silence_pinned(kept, estimates);
  for (int q = 0; q < estimates.group; ++q) {
    const Budget budget = weigh_candidates(
        estimates.log_masses + q * estimates.stride + kept.head_end,
        kept.tail_begin - kept.head_end, estimates.kept_lse[q], epsilon, scratch.masses);
    if (!budget.readable || budget.mass > budget.allowed) return everything(kept, list);
  }
  return select_streaming(kept, list);
}

Selection select_streaming(const KeptSet& kept, std::int32_t* list) {
  return {write_kept_list(kept, list), true};
}

Selection select_dense(int granules, std::int32_t* list) {
  std::iota(list, list + granules, 0);
  return {granules, false};
}

Selection select_cosine(int length, std::span<const float> cosines, float tau, std::int32_t* list) {
  const bool routed =
      length > 0 && std::all_of(cosines.begin(), cosines.end(), [&](float c) { return c >= tau; });
  if (!routed) return select_dense(length, list);
  list[0] = 0;
  return {1, true};
}

}  // namespace sinkrouter
