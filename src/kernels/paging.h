#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

#include "kv/kv_view.h"
#include "router/lists.h"

// Where rows lie: shared by the backends that run on the host.
namespace sinkrouter {

// Elements from the base pointer to the row of `token`.
inline std::int64_t row_offset(const KvView& kv, int sequence, int kv_head, std::int64_t token) {
  const std::int64_t page = kv.page_table[sequence * kv.page_table_stride + token / kv.page_size];
  return page * kv.page_stride + kv_head * kv.head_stride +
         (token % kv.page_size) * kv.token_stride;
}

// Index into MomentsView::scales; codes start at 2 * head_dim times this.
inline std::int64_t moments_index(const KvView& kv, int sequence, int kv_head, std::int64_t block) {
  const std::int64_t blocks_per_page = kv.page_size / kBlockSize;
  const std::int64_t page =
      kv.page_table[sequence * kv.page_table_stride + block / blocks_per_page];
  return (page * kv.kv_heads + kv_head) * blocks_per_page + block % blocks_per_page;
}

// The same for the blocks of one KV head of one sequence, without divisions.
class MomentPlaces {
 public:
  MomentPlaces(const KvView& kv, int sequence, int kv_head)
      : pages_(kv.page_table + sequence * kv.page_table_stride),
        page_shift_(std::countr_zero(static_cast<unsigned>(kv.page_size / kBlockSize))),
        kv_heads_(kv.kv_heads),
        kv_head_(kv_head) {}

  std::int64_t index(std::int32_t block) const {
    const std::int64_t page = pages_[block >> page_shift_];
    return ((page * kv_heads_ + kv_head_) << page_shift_) + (block & ((1 << page_shift_) - 1));
  }

 private:
  const std::int32_t* pages_;
  int page_shift_;
  int kv_heads_;
  int kv_head_;
};

// Rows a list names: only its last granule can be cut by the length.
inline std::int64_t list_rows(const GranuleLists& lists, int sequence, int kv_head,
                              const KvView& kv) {
  const std::int64_t count = lists.counts[std::int64_t{sequence} * kv.kv_heads + kv_head];
  if (count <= 0) return 0;
  const std::int64_t last_begin =
      std::int64_t{lists.list(sequence, kv_head, kv.kv_heads)[count - 1]} * lists.granule;
  const std::int64_t last_rows =
      std::clamp<std::int64_t>(kv.lengths[sequence] - last_begin, 0, lists.granule);
  return (count - 1) * lists.granule + last_rows;
}

}  // namespace sinkrouter
