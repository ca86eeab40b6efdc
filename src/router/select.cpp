#include "router/select.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/check.h"
#include "router/mass_budget.h"

namespace sinkrouter {
namespace {

constexpr float kNothing = -std::numeric_limits<float>::infinity();

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
  for_each_pinned(kept, [&](int g) {
    for (int q = 0; q < estimates.group; ++q) {
      estimates.log_masses[q * estimates.stride + g] = kNothing;
    }
  });
}

void mark_pinned(const KeptSet& kept, const MassScratch& scratch) {
  for_each_pinned(kept, [&](int g) { scratch.mark(g - kept.head_end); });
}

// Marks what the q heads need beyond the kept set. left [group], when given, gets the log-masses
// that each of them leaves.
Need mark_needs(const KeptSet& kept, const GroupEstimates& estimates, float epsilon,
                const MassScratch& scratch, float* left) {
  if (!(epsilon > 0.0f)) return Need::kUnknown;
  const int candidates = kept.tail_begin - kept.head_end;
  scratch.clear_needed(candidates);
  silence_pinned(kept, estimates);
  Need need = Need::kNone;
  for (int q = 0; q < estimates.group; ++q) {
    const MassBudget budget =
        weigh_candidates(estimates.log_masses + q * estimates.stride + kept.head_end, candidates,
                         {estimates.kept_lse[q], kNothing}, epsilon, scratch);
    if (!budget.readable) return Need::kUnknown;
    double left_mass = budget.mass;
    if (!budget.needs_nothing()) {
      left_mass = mark_largest(scratch, candidates, budget);
      need = Need::kSome;
    }
    if (left != nullptr) {
      left[q] = budget.reference + static_cast<float>(std::log(left_mass));
    }
  }
  return need;
}

Selection everything(const KeptSet& kept, std::int32_t* list) {
  const bool routed = write_kept_list(kept, list) == kept.granules;
  return {select_dense(kept.granules, list).count, routed};
}

}  // namespace

std::int64_t select_scratch_bytes(int granules) { return MassScratch::bytes(granules); }

Selection select_margin(const KeptSet& kept, const GroupEstimates& estimates, float epsilon,
                        void* scratch_memory, std::int32_t* list) {
  const MassScratch scratch(scratch_memory, kept.granules);
  const Need need = mark_needs(kept, estimates, epsilon, scratch, nullptr);
  if (need == Need::kUnknown) return everything(kept, list);
  mark_pinned(kept, scratch);
  int count = 0;
  for (int g = 0; g < kept.head_end; ++g) list[count++] = g;
  for_each_bit(scratch.needed, kept.tail_begin - kept.head_end,
               [&](int candidate) { list[count++] = kept.head_end + candidate; });
  for (int g = kept.tail_begin; g < kept.granules; ++g) list[count++] = g;
  return {count, need == Need::kNone};
}

Selection select_route(const KeptSet& kept, const GroupEstimates& estimates, float epsilon,
                       void* scratch_memory, std::int32_t* list) {
  if (!(epsilon > 0.0f)) return everything(kept, list);
  const MassScratch scratch(scratch_memory, kept.granules);
  silence_pinned(kept, estimates);
  for (int q = 0; q < estimates.group; ++q) {
    const MassBudget budget = weigh_candidates(
        estimates.log_masses + q * estimates.stride + kept.head_end,
        kept.tail_begin - kept.head_end, {estimates.kept_lse[q], kNothing}, epsilon, scratch);
    if (!budget.readable || !budget.needs_nothing()) return everything(kept, list);
  }
  return select_streaming(kept, list);
}

int select_blocks(const KeptSet& kept, const GroupEstimates& estimates, float epsilon,
                  void* scratch_memory, std::int32_t* blocks, float* left) {
  const int candidates = kept.tail_begin - kept.head_end;
  const MassScratch scratch(scratch_memory, kept.granules);
  const Need need = mark_needs(kept, estimates, epsilon, scratch, left);
  if (need == Need::kNone) return 0;
  if (need == Need::kUnknown) {
    std::iota(blocks, blocks + candidates, kept.head_end);
    std::fill_n(left, estimates.group, kNothing);
    return candidates;
  }
  mark_pinned(kept, scratch);
  int count = 0;
  for_each_bit(scratch.needed, candidates,
               [&](int candidate) { blocks[count++] = kept.head_end + candidate; });
  return count;
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
