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

// Calls fn(first candidate) for the blocks that are pinned.
template <typename Fn>
void for_each_pinned(const KeptSet& kept, std::span<const std::int32_t> blocks, Fn&& fn) {
  for (std::int32_t pinned : kept.pinned_blocks) {
    const auto at = std::ranges::lower_bound(blocks, pinned);
    if (at != blocks.end() && *at == pinned) {
      fn(static_cast<int>(at - blocks.begin()) * kBlockSize);
    }
  }
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

Need mark_rows(const KeptSet& kept, std::span<const std::int32_t> blocks, float* logits,
               const Background& background, float epsilon, void* scratch_memory,
               std::uint64_t* needed) {
  if (!(epsilon > 0.0f)) return Need::kUnknown;
  const int candidates = static_cast<int>(blocks.size()) * kBlockSize;
  MassScratch scratch(scratch_memory, candidates);
  scratch.needed = needed;
  scratch.clear_needed(candidates);
  for_each_pinned(kept, blocks,
                  [&](int first) { std::fill_n(logits + first, kBlockSize, kNothing); });
  const MassBudget budget = weigh_candidates(logits, candidates, background, epsilon, scratch);
  if (!budget.readable) return Need::kUnknown;
  if (budget.needs_nothing()) return Need::kNone;
  mark_largest(scratch, candidates, budget);
  return Need::kSome;
}

Selection list_rows(const KeptSet& kept, std::span<const std::int32_t> blocks,
                    std::span<const RowNeeds> heads, std::int32_t* list) {
  const auto says = [&](Need need) {
    return std::ranges::any_of(heads, [&](const RowNeeds& head) { return head.need == need; });
  };
  if (says(Need::kUnknown)) return select_dense(kept.length, list);
  if (blocks.empty()) return kept_rows(kept, list);
  const int candidates = static_cast<int>(blocks.size()) * kBlockSize;
  std::uint64_t* united = heads.front().needed;
  const int words = needed_words(candidates);
  if (heads.front().need == Need::kNone) std::fill_n(united, words, 0);
  for (const RowNeeds& head : heads.subspan(1)) {
    if (head.need == Need::kNone) continue;
    for (int i = 0; i < words; ++i) united[i] |= head.needed[i];
  }
  for_each_pinned(kept, blocks, [&](int first) {
    for (int i = first; i < first + kBlockSize; ++i) {
      united[i / 64] |= std::uint64_t{1} << (i % 64);
    }
  });

  RowWriter writer(list, kept.length);
  writer.add_blocks(0, kept.head_end);
  for_each_bit(united, candidates, [&](int candidate) {
    writer.add(blocks[static_cast<std::size_t>(candidate / kBlockSize)] * kBlockSize +
               candidate % kBlockSize);
  });
  writer.add_blocks(kept.tail_begin, kept.granules);
  return {writer.count(), !says(Need::kSome)};
}

}  // namespace sinkrouter
