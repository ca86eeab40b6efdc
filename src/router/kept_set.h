#pragma once

#include <cstdint>
#include <span>

namespace sinkrouter {

// Granules that cover `length` rows, the last one perhaps cut.
inline int granule_count(int length, int granule) {
  return static_cast<int>((std::int64_t{length} + granule - 1) / granule);
}

struct GranuleRange {
  int first = 0;
  int last = 0;  // inclusive
};

// What every list of a KV head group holds: each granule that overlaps the sink block, a pinned
// block, a block with one of the last `window` rows, or a row past the last full block (no moments
// describe those).
struct KeptSet {
  int length = 0;
  int granule = 1;
  int granules = 0;    // granule_count(length, granule)
  int head_end = 0;    // granules [0, head_end) hold the sink block
  int tail_begin = 0;  // granules [tail_begin, granules) hold the window and the partial block;
                       // >= head_end
  std::span<const std::int32_t> pinned_blocks;  // any order, duplicates allowed

  GranuleRange granules_of(std::int32_t pinned_block) const;
  bool contains(int index) const;  // index in [0, granules)
};

// Throws Error when length < 0, granule < 1, window < 1 or a pinned block has no row below length.
// Keeps the span, copies nothing.
KeptSet make_kept_set(int length, int granule, int window,
                      std::span<const std::int32_t> pinned_blocks = {});

// Ascending, without duplicates; returns the number written (at most kept.granules).
int write_kept_list(const KeptSet& kept, std::int32_t* out);

}  // namespace sinkrouter
