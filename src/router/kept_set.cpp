#include "router/kept_set.h"

#include <algorithm>

#include "base/block_size.h"
#include "base/check.h"

namespace sinkrouter {

GranuleRange KeptSet::granules_of(std::int32_t pinned_block) const {
  const std::int64_t first_row = std::int64_t{pinned_block} * kBlockSize;
  const std::int64_t last_row = std::min(first_row + kBlockSize, std::int64_t{length}) - 1;
  return {static_cast<int>(first_row / granule), static_cast<int>(last_row / granule)};
}

bool KeptSet::contains(int index) const {
  if (index < head_end || index >= tail_begin) return true;
  return std::any_of(pinned_blocks.begin(), pinned_blocks.end(), [&](std::int32_t block) {
    const GranuleRange range = granules_of(block);
    return index >= range.first && index <= range.last;
  });
}

KeptSet make_kept_set(int length, int granule, int window,
                      std::span<const std::int32_t> pinned_blocks) {
  SR_CHECK(length >= 0, kInvalidArgument, "length is {}: expected >= 0", length);
  SR_CHECK(granule >= 1, kInvalidArgument, "granule is {}: expected >= 1", granule);
  SR_CHECK(window >= 1, kInvalidArgument, "window is {}: expected >= 1", window);
  for (std::int32_t block : pinned_blocks) {
    SR_CHECK(block >= 0 && std::int64_t{block} * kBlockSize < length, kInvalidArgument,
             "pinned block {} is outside the sequence of {} tokens", block, length);
  }
  KeptSet kept;
  kept.length = length;
  kept.granule = granule;
  kept.granules = granule_count(length, granule);
  kept.head_end = std::min(kept.granules, granule_count(kBlockSize, granule));
  const int described_rows = length / kBlockSize * kBlockSize;
  const int window_row = std::max(length - window, 0) / kBlockSize * kBlockSize;
  const int tail_row = std::min(window_row, described_rows);
  kept.tail_begin = std::max(tail_row / granule, kept.head_end);
  kept.pinned_blocks = pinned_blocks;
  return kept;
}

int write_kept_list(const KeptSet& kept, std::int32_t* out) {
  int count = 0;
  for (int g = 0; g < kept.head_end; ++g) out[count++] = g;
  for (int last = kept.head_end - 1;;) {
    int next = kept.tail_begin;
    for (std::int32_t block : kept.pinned_blocks) {
      const GranuleRange range = kept.granules_of(block);
      if (range.last > last) next = std::min(next, std::max(range.first, last + 1));
    }
    if (next >= kept.tail_begin) break;
    out[count++] = next;
    last = next;
  }
  for (int g = kept.tail_begin; g < kept.granules; ++g) out[count++] = g;
  return count;
}

}  // namespace sinkrouter
