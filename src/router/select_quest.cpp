#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "router/select.h"

namespace sinkrouter {
namespace {

// What is not a number is taken first: nothing says that it may be left.
float rank_of(float bound) {
  return std::isnan(bound) ? std::numeric_limits<float>::infinity() : bound;
}

// Marks the `wanted` largest of scratch.masses [candidates].
void mark_top(const MassScratch& scratch, int candidates, int wanted) {
  if (wanted <= 0) return;
  float* sorted = scratch.compacted;
  std::copy_n(scratch.masses, candidates, sorted);
  std::nth_element(sorted, sorted + (wanted - 1), sorted + candidates, std::greater<>());
  const float least = sorted[wanted - 1];
  auto equals = wanted - std::count_if(sorted, sorted + wanted, [&](float x) { return x > least; });
  for (int i = 0; i < candidates; ++i) {
    const float rank = scratch.masses[i];
    if (rank > least || (rank == least && equals-- > 0)) scratch.mark(i);
  }
}

}  // namespace

Selection select_quest(const KeptSet& kept, const GroupBounds& bounds, float budget,
                       void* scratch_memory, std::int32_t* list) {
  constexpr float kPinned = -std::numeric_limits<float>::infinity();
  const MassScratch scratch(scratch_memory, kept.granules);
  const int candidates = kept.tail_begin - kept.head_end;
  const int kept_granules = write_kept_list(kept, list);
  const int pinned = kept_granules - kept.head_end - (kept.granules - kept.tail_begin);
  const auto budgeted = static_cast<int>(std::ceil(double{budget} * kept.granules));
  const int wanted = std::clamp(budgeted - kept_granules, 0, candidates - pinned);
  scratch.clear_needed(candidates);
  for (int q = 0; q < bounds.group && wanted > 0; ++q) {
    const float* of_head = bounds.bounds + q * bounds.stride + kept.head_end;
    std::transform(of_head, of_head + candidates, scratch.masses, rank_of);
    // Pinned granules are read in any case; the list still holds them between head and tail.
    for (int i = kept.head_end; i < kept.head_end + pinned; ++i) {
      scratch.masses[list[i] - kept.head_end] = kPinned;
    }
    mark_top(scratch, candidates, wanted);
  }
  for (int i = kept.head_end; i < kept.head_end + pinned; ++i) {
    scratch.mark(list[i] - kept.head_end);
  }
  int count = kept.head_end;
  for_each_bit(scratch.needed, candidates,
               [&](int candidate) { list[count++] = kept.head_end + candidate; });
  for (int g = kept.tail_begin; g < kept.granules; ++g) list[count++] = g;
  return {count, wanted == 0};
}

}  // namespace sinkrouter
