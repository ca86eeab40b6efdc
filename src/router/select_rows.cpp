#include "router/row_lists.h"

namespace sinkrouter {

Need mark_rows(const KeptSet& kept, std::span<const std::int32_t> blocks, float* logits,
               const Background& background, float epsilon, void* scratch_memory,
               std::uint64_t* needed) {
  if (!(epsilon > 0.0f)) return Need::kUnknown;
  const int candidates = static_cast<int>(blocks.size()) * kBlockSize;
  MassScratch scratch(scratch_memory, candidates);
  scratch.needed = needed;
  scratch.clear_needed(candidates);
  silence_pinned_blocks(kept, blocks, logits, 0, 1);
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
  if (says(Need::kUnknown)) return all_rows(kept, list);
  if (blocks.empty()) return kept_rows(kept, list);
  const int candidates = static_cast<int>(blocks.size()) * kBlockSize;
  std::uint64_t* united = heads.front().needed;
  const int words = needed_words(candidates);
  if (heads.front().need == Need::kNone) std::fill_n(united, words, 0);
  for (const RowNeeds& head : heads.subspan(1)) {
    if (head.need == Need::kNone) continue;
    for (int i = 0; i < words; ++i) united[i] |= head.needed[i];
  }
  for_each_pinned_block(kept, blocks, [&](int first) {
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
