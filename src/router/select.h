#pragma once

#include <cstdint>
#include <span>

#include "router/kept_set.h"
#include "router/mass_budget.h"

// Policies: each writes the list of one KV head group of one sequence, ascending and without
// duplicates, with room for kept.granules entries. Nothing allocates. Lists of different groups may
// be written concurrently with scratch of their own.
namespace sinkrouter {

struct Selection {
  int count = 0;        // entries written
  bool routed = false;  // nothing beyond the kept set was needed (cosine: the list is {0})
};

// Estimated (oracle: true) log-masses of one group's granules, scaled as the logits are.
struct GroupEstimates {
  float* log_masses = nullptr;  // [group, stride]; entries [0, kept.tail_begin) are used, those of
                                // kept granules are overwritten
  std::int64_t stride = 0;
  const float* kept_lse = nullptr;  // [group]: exact log-sum-exp over the kept granules
  int group = 0;                    // q heads that share the KV head
};

// Bytes of 64-byte aligned scratch a selection over up to `granules` granules needs; a multiple of
// 64, so that workers can have theirs side by side.
std::int64_t select_scratch_bytes(int granules);

// For each q head the fewest granules, largest estimate first (lower index first among equals),
// that leave an estimated unread mass of at most epsilon; the group's list is the union with the
// kept set. Whatever is not a number, or leaves no mass to compare with, reads everything.
Selection select_margin(const KeptSet& kept, const GroupEstimates& estimates, float epsilon,
                        void* scratch, std::int32_t* list);

// The two tiers of margin at granule 1. `kept` has granule kBlockSize in both.
//
// Tier 0: the blocks worth a closer look, chosen as select_margin chooses granules, and the pinned
// ones; none when the kept set is enough. left [group] gets what each q head leaves for good. The
// list has room for kept.granules entries.
int select_blocks(const KeptSet& kept, const GroupEstimates& estimates, float epsilon,
                  void* scratch, std::int32_t* blocks, float* left);

// Tier 1, one q head: sets the bits of the fewest rows of `blocks`, largest estimate first, that
// leave an unread mass of at most epsilon, what tier 0 left included; of all of them when that
// alone is more. logits [blocks.size() * kBlockSize]: row r of the j-th block at j * kBlockSize +
// r; those of pinned blocks are overwritten. needed [needed_words(blocks.size() * kBlockSize)] is
// overwritten; it means nothing unless the result is kSome. Heads may be marked concurrently.
enum class Need { kNone, kSome, kUnknown };
Need mark_rows(const KeptSet& kept, std::span<const std::int32_t> blocks, float* logits,
               const Background& background, float epsilon, void* scratch, std::uint64_t* needed);

// The list of a group: what its q heads marked, and the kept set; every row when one of them cannot
// tell. Overwrites the first head's bits. The list has room for kept.length entries.
struct RowNeeds {
  Need need = Need::kNone;
  std::uint64_t* needed = nullptr;
};
Selection list_rows(const KeptSet& kept, std::span<const std::int32_t> blocks,
                    std::span<const RowNeeds> heads, std::int32_t* list);

// What logits of rows of the listed blocks lie between.
struct RowBounds {
  float* lower =
      nullptr;  // [group, stride]: row r of the j-th block at j * kBlockSize + r; those of
  float* upper = nullptr;  // pinned blocks are overwritten
  std::int64_t stride = 0;
  const float* kept_lse = nullptr;  // [group]: at most the log-sum-exp over the kept set
  int group = 0;
};

// The fewest rows, largest upper bound first, so that for each q head the sum of exp(upper) over
// the rows left is at most epsilon times the mass that is certain: exp(kept_lse) and exp(lower) of
// every row. With logits anywhere between their bounds the unread mass is then at most epsilon,
// rounding here included. `blocks` holds every block that is not in the kept set, which has granule
// kBlockSize; pinned blocks may be among them. The list has room for kept.length entries.
Selection select_certified(const KeptSet& kept, std::span<const std::int32_t> blocks,
                           const RowBounds& bounds, float epsilon, void* scratch,
                           std::int32_t* list);

// The kept set when no q head needs more under the same rule, else everything.
Selection select_route(const KeptSet& kept, const GroupEstimates& estimates, float epsilon,
                       void* scratch, std::int32_t* list);

// What bounds the logits of one group's granules from above.
struct GroupBounds {
  const float* bounds = nullptr;  // [group, stride]; entries [0, kept.tail_begin) are used
  std::int64_t stride = 0;
  int group = 0;
};

// For each q head the granules of the largest bounds (lower index first among equals, what is not a
// number before all), as many as make budget * kept.granules, rounded up, with the kept set; the
// group's list is the union with the kept set.
Selection select_quest(const KeptSet& kept, const GroupBounds& bounds, float budget, void* scratch,
                       std::int32_t* list);

Selection select_streaming(const KeptSet& kept, std::int32_t* list);

// Never counts as routed.
Selection select_dense(int granules, std::int32_t* list);

// Granule 1: {0} when every q head's cos(q, k_0) >= tau, else all `length` rows. A cosine that is
// not a number objects.
Selection select_cosine(int length, std::span<const float> cosines, float tau, std::int32_t* list);

}  // namespace sinkrouter
