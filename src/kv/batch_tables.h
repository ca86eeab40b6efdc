#pragma once

#include <cstdint>
#include <span>

#include "kv/kv_cache.h"
#include "kv/virtual_memory.h"

namespace sinkrouter {

// Page tables, lengths and pinned blocks of a batch as kernels want them: side by side, at
// addresses that never change. fill() allocates nothing.
class BatchTables {
 public:
  BatchTables(const KvCache& cache, int max_batch);

  // Copies the tables of `ids`. Lengths count `pending` reserved tokens after the committed ones.
  void fill(const KvCache& cache, std::span<const SequenceId> ids, int pending);

  const KvCache& cache() const { return *cache_; }
  int sequences() const { return sequences_; }
  int max_batch() const { return max_batch_; }
  int longest() const { return longest_; }        // the largest length, 0 of an empty batch
  std::span<const std::int32_t> lengths() const;  // [sequences]
  const std::int32_t* page_table() const;         // [max_batch, page_table_stride]
  std::int64_t page_table_stride() const { return stride_; }
  const PinnedBlocks& pinned(int sequence, int layer, int kv_head) const;

 private:
  const KvCache* cache_;
  int max_batch_ = 0;
  int sequences_ = 0;
  int longest_ = 0;
  std::int64_t stride_ = 0;
  VirtualMemory tables_;   // int32 [max_batch, stride]
  VirtualMemory lengths_;  // int32 [max_batch]
  VirtualMemory pins_;     // PinnedBlocks [max_batch, layers, kv_heads]
};

}  // namespace sinkrouter
