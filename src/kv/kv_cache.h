#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kv/kv_view.h"
#include "kv/page_pool.h"
#include "kv/paged_array.h"
#include "kv/pinned_blocks.h"
#include "kv/virtual_memory.h"
#include "sinkrouter/dtype.h"

namespace sinkrouter {

class BatchTables;
class KvCache;

struct KvCacheConfig {
  int layers = 0;
  int kv_heads = 0;
  int head_dim = 0;
  DType dtype = DType::kBF16;        // f32, bf16 or f16
  int page_size = 64;                // 32, 64, 128 or 256
  int sketch_bits = 0;               // row sketches: 0 (none), 2 or 4 bits a channel
  bool key_boxes = false;            // boxes around the keys of each block
  std::int64_t capacity_tokens = 0;  // of all sequences, shared pages counted once
  int max_sequences = 256;
};

// Names a sequence of one cache. Using one that was released, or belongs to another cache, is an
// Error.
struct SequenceId {
  const KvCache* cache = nullptr;
  std::int32_t slot = -1;
  std::uint32_t generation = 0;
};

// One block of one KV head as its summaries are computed: rows in, moments, sketches and
// box out.
struct BlockSlot {
  const void* keys = nullptr;             // [kBlockSize, head_dim] of the cache's dtype
  std::int64_t token_stride = 0;          // elements
  std::uint8_t* codes = nullptr;          // [2, head_dim]
  float* scale = nullptr;                 // [1]
  std::uint32_t* sketch_codes = nullptr;  // [head_dim * sketch_bits / 32, kBlockSize], or nullptr
  Float16* sketch_scales = nullptr;       // [kBlockSize], or nullptr
  Float16* sketch_misses = nullptr;       // [kBlockSize], or nullptr: 4-bit sketches have them
  BFloat16* box = nullptr;                // [2, head_dim], or nullptr
};

// Blocks [begin, end) of a sequence.
struct BlockRange {
  int begin = 0;
  int end = 0;
};

// The blocks that storing n rows at `position` fills: their last row is among them.
BlockRange filled_blocks(int position, int n);

// Paged keys, values, block summaries of every layer for many sequences. A physical
// page holds page_size tokens of all layers and KV heads of one sequence, or of several that share
// a prefix. Address space for the whole capacity is reserved at once and touched as pages are used,
// so addresses never change.
//
// Appending n tokens: reserve(id, n), store_rows() for every layer, summaries of filled_blocks(),
// commit(id, n). After construction nothing allocates. store_rows() and block() may run
// concurrently on different rows, layers and heads; everything else is the caller's to order.
class KvCache {
 public:
  explicit KvCache(const KvCacheConfig& config);
  KvCache(const KvCache&) = delete;
  KvCache& operator=(const KvCache&) = delete;

  const KvCacheConfig& config() const { return config_; }
  int pages() const { return pool_.pages(); }
  int free_pages() const { return pool_.free_pages(); }
  int sequences() const;                // live
  std::int64_t bytes_per_page() const;  // of all layers, summaries included

  SequenceId create();
  // A new sequence with the same rows. Pages are shared; a partly filled last page is copied by
  // whoever writes to it first. The source must have no reserved rows that are not committed.
  SequenceId fork(SequenceId id);
  void release(SequenceId id);

  int length(SequenceId id) const;    // committed tokens
  int reserved(SequenceId id) const;  // length and the room after it
  // Forgets tokens from `length` on, and all reserved room.
  void truncate(SequenceId id, int length);

  // Makes room for n tokens after the length. On a full pool throws Error(kOutOfCapacity) and
  // changes nothing.
  void reserve(SequenceId id, int n);
  // Converts rows [n, kv_heads, head_dim], `row_stride` elements apart, to the storage dtype at
  // positions position ... position + n - 1, all reserved and not committed.
  void store_rows(int layer, SequenceId id, int position, int n, const float* keys,
                  const float* values, std::int64_t row_stride);
  // Makes n stored rows part of the sequence.
  void commit(SequenceId id, int n);

  // A block whose last row is reserved and not committed.
  BlockSlot block(int layer, SequenceId id, int kv_head, int block);

  // Replaces the pinned blocks of one layer and KV head; they must be ascending and full within the
  // reserved rows. Forks inherit them; truncating drops those it cuts.
  void pin(SequenceId id, int layer, int kv_head, const PinnedBlocks& blocks);
  std::span<const PinnedBlocks> pinned(SequenceId id) const;  // [layers, kv_heads]

  std::span<const std::int32_t> page_table(SequenceId id) const;  // physical pages, in order

  KvView view(int layer, const BatchTables& tables) const;
  MomentsView moments(int layer) const;
  SketchView sketches(int layer) const;  // codes == nullptr when there are none
  BoxesView boxes(int layer) const;      // bounds == nullptr when there are none

 private:
  struct Slot {
    std::uint32_t generation = 0;
    bool live = false;
    int length = 0;
    int reserved = 0;
    int page_count = 0;
  };

  const Slot& slot(SequenceId id) const;
  Slot& slot(SequenceId id);
  std::int32_t* table(std::int32_t slot_index) const;           // [pages]
  std::span<PinnedBlocks> pins(std::int32_t slot_index) const;  // [layers, kv_heads]
  void check_layer(int layer) const;
  void check_kv_head(int kv_head) const;
  int pages_for(int tokens) const;
  void drop_pages(Slot& sequence, std::int32_t slot_index, int keep);

  KvCacheConfig config_;
  PagePool pool_;
  PagedArray keys_;
  PagedArray values_;
  PagedArray codes_;
  PagedArray scales_;
  PagedArray sketch_codes_;
  PagedArray sketch_scales_;
  PagedArray sketch_misses_;
  PagedArray boxes_;
  std::vector<float> rotation_;  // [head_dim, head_dim], empty without sketches
  VirtualMemory tables_;         // int32 [max_sequences, pages]
  VirtualMemory pins_;           // PinnedBlocks [max_sequences, layers, kv_heads]
  std::vector<Slot> slots_;
  std::vector<std::int32_t> free_slots_;
};

}  // namespace sinkrouter
