#include <algorithm>
#include <limits>

#include "base/block_size.h"
#include "router/mass_budget.h"
#include "router/select.h"
#include "router/traffic.h"

namespace sinkrouter {
namespace {

constexpr float kNothing = -std::numeric_limits<float>::infinity();

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

Selection all_rows(const KeptSet& kept, std::int32_t* list) {
  return select_dense(kept.length, list);
}

// Blocks are written first and spread to their rows from the back.
Selection kept_rows(const KeptSet& kept, std::int32_t* list) {
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

}  // namespace

Selection select_rows(const KeptSet& kept, std::span<const std::int32_t> blocks,
                      const RowEstimates& estimates, float epsilon, void* scratch_memory,
                      std::int32_t* list) {
  if (!(epsilon > 0.0f)) return all_rows(kept, list);
  if (blocks.empty()) return kept_rows(kept, list);
  const int candidates = static_cast<int>(blocks.size()) * kBlockSize;
  const MassScratch scratch(scratch_memory, candidates);
  scratch.clear_needed(candidates);
  const auto is_pinned = [&](std::int32_t block) {
    return std::find(kept.pinned_blocks.begin(), kept.pinned_blocks.end(), block) !=
           kept.pinned_blocks.end();
  };
  for (std::size_t j = 0; j < blocks.size(); ++j) {
    if (!is_pinned(blocks[j])) continue;
    for (int q = 0; q < estimates.group; ++q) {
      std::fill_n(estimates.logits + q * estimates.stride + static_cast<int>(j) * kBlockSize,
                  kBlockSize, kNothing);
    }
  }

  bool routed = true;
  for (int q = 0; q < estimates.group; ++q) {
    const MassBudget budget =
        weigh_candidates(estimates.logits + q * estimates.stride, candidates,
                         {estimates.kept_lse[q], estimates.left[q]}, epsilon, scratch);
    if (!budget.readable) return all_rows(kept, list);
    if (budget.needs_nothing()) continue;
    mark_largest(scratch, candidates, budget);
    routed = false;
  }
  for (std::size_t j = 0; j < blocks.size(); ++j) {
    if (!is_pinned(blocks[j])) continue;
    for (int r = 0; r < kBlockSize; ++r) scratch.mark(static_cast<int>(j) * kBlockSize + r);
  }

  RowWriter writer(list, kept.length);
  writer.add_blocks(0, kept.head_end);
  for_each_bit(scratch.needed, candidates, [&](int candidate) {
    writer.add(blocks[candidate / kBlockSize] * kBlockSize + candidate % kBlockSize);
  });
  writer.add_blocks(kept.tail_begin, kept.granules);
  return {writer.count(), routed};
}

}  // namespace sinkrouter
