#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <span>

#include "base/block_size.h"
#include "router/mass_budget.h"
#include "router/select.h"
#include "router/traffic.h"

// How the policies that choose rows of blocks write their lists.
namespace sinkrouter {

// Ascending rows of a sequence, written block by block.
class RowWriter {
 public:
  RowWriter(std::int32_t* list, int length) : list_(list), length_(length) {}

  void add(int row) { list_[count_++] = row; }
  void add_blocks(int begin, int end) {
    const int last =
        static_cast<int>(std::min(std::int64_t{end} * kBlockSize, std::int64_t{length_}));
    for (int row = begin * kBlockSize; row < last; ++row) add(row);
  }
  int count() const { return count_; }

 private:
  std::int32_t* list_;
  int length_;
  int count_ = 0;
};

inline Selection all_rows(const KeptSet& kept, std::int32_t* list) {
  return select_dense(kept.length, list);
}

// Blocks are written first and spread to their rows from the back.
inline Selection kept_rows(const KeptSet& kept, std::int32_t* list) {
  const int blocks = write_kept_list(kept, list);
  int count = static_cast<int>(listed_rows(list, blocks, kBlockSize, kept.length));
  for (int i = blocks - 1, next = count; i >= 0; --i) {
    const std::int32_t first = list[i] * kBlockSize;
    for (int row = std::min(first + kBlockSize, kept.length) - 1; row >= first; --row) {
      list[--next] = row;
    }
  }
  return {count, true};
}

// Calls fn(candidate) for the first candidate, a row, of each block that is pinned.
template <typename Fn>
void for_each_pinned_block(const KeptSet& kept, std::span<const std::int32_t> blocks, Fn&& fn) {
  for (const std::int32_t pinned : kept.pinned_blocks) {
    const auto at = std::lower_bound(blocks.begin(), blocks.end(), pinned);
    if (at != blocks.end() && *at == pinned) {
      fn(static_cast<int>(at - blocks.begin()) * kBlockSize);
    }
  }
}

// The mass of pinned blocks is in the kept log-sum-exp already: none in log_masses [group, stride].
inline void silence_pinned_blocks(const KeptSet& kept, std::span<const std::int32_t> blocks,
                                  float* log_masses, std::int64_t stride, int group) {
  constexpr float kNothing = -std::numeric_limits<float>::infinity();
  for_each_pinned_block(kept, blocks, [&](int first) {
    for (int q = 0; q < group; ++q) {
      std::fill_n(log_masses + q * stride + first, kBlockSize, kNothing);
    }
  });
}

// The kept set and the rows of `blocks` that some q head needs; budget_of(q, scratch) weighs them,
// numbered along the blocks, for q head q of the group.
template <typename BudgetOf>
Selection take_rows(const KeptSet& kept, std::span<const std::int32_t> blocks, int group,
                    void* scratch_memory, std::int32_t* list, const BudgetOf& budget_of) {
  const int candidates = static_cast<int>(blocks.size()) * kBlockSize;
  const MassScratch scratch(scratch_memory, candidates);
  scratch.clear_needed(candidates);
  bool routed = true;
  for (int q = 0; q < group; ++q) {
    const MassBudget budget = budget_of(q, scratch);
    if (!budget.readable) return all_rows(kept, list);
    if (budget.needs_nothing()) continue;
    mark_largest(scratch, candidates, budget);
    routed = false;
  }
  for_each_pinned_block(kept, blocks, [&](int first) {
    for (int r = 0; r < kBlockSize; ++r) scratch.mark(first + r);
  });
  RowWriter writer(list, kept.length);
  writer.add_blocks(0, kept.head_end);
  for_each_bit(scratch.needed, candidates, [&](int candidate) {
    writer.add(blocks[candidate / kBlockSize] * kBlockSize + candidate % kBlockSize);
  });
  writer.add_blocks(kept.tail_begin, kept.granules);
  return {writer.count(), routed};
}

}  // namespace sinkrouter
