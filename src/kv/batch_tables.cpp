#include "kv/batch_tables.h"

#include <algorithm>

#include "base/check.h"

namespace sinkrouter {

BatchTables::BatchTables(const KvCache& cache, int max_batch)
    : cache_(&cache), max_batch_(max_batch), stride_(cache.pages()) {
  SR_CHECK(max_batch >= 1, kInvalidArgument, "max_batch is {}: expected >= 1", max_batch);
  constexpr std::string_view kPurpose = "page tables of a batch";
  const std::int64_t entries = checked_multiply(max_batch, stride_, kPurpose);
  tables_ =
      VirtualMemory(checked_multiply(entries, sizeof(std::int32_t), kPurpose), false, kPurpose);
  const std::int64_t heads = std::int64_t{cache.config().layers} * cache.config().kv_heads;
  const std::int64_t pin_entries = checked_multiply(max_batch, heads, kPurpose);
  pins_ =
      VirtualMemory(checked_multiply(pin_entries, sizeof(PinnedBlocks), kPurpose), false, kPurpose);
  lengths_ = VirtualMemory(std::int64_t{max_batch} * sizeof(std::int32_t), false, kPurpose);
}

void BatchTables::fill(const KvCache& cache, std::span<const SequenceId> ids, int pending) {
  SR_CHECK(&cache == cache_, kInvalidArgument, "the batch tables were made for another KV cache");
  SR_CHECK(ids.size() <= static_cast<std::size_t>(max_batch_), kInvalidArgument,
           "the batch has {} sequences: expected at most {}", ids.size(), max_batch_);
  SR_CHECK(pending >= 0, kInvalidArgument, "pending is {}: expected >= 0", pending);
  for (SequenceId id : ids) {
    const int room = cache.reserved(id) - cache.length(id);
    SR_CHECK(pending <= room, kInvalidArgument,
             "pending is {}: expected at most {}, the rows reserved after length {}", pending, room,
             cache.length(id));
  }
  sequences_ = static_cast<int>(ids.size());
  longest_ = 0;
  for (int s = 0; s < sequences_; ++s) {
    const std::span<const std::int32_t> pages = cache.page_table(ids[s]);
    std::copy(pages.begin(), pages.end(), tables_.as<std::int32_t>() + s * stride_);
    const std::int32_t length = cache.length(ids[s]) + pending;
    lengths_.as<std::int32_t>()[s] = length;
    longest_ = std::max(longest_, static_cast<int>(length));
    const std::span<const PinnedBlocks> pins = cache.pinned(ids[s]);
    std::ranges::copy(pins, pins_.as<PinnedBlocks>() + static_cast<std::int64_t>(s * pins.size()));
  }
}

std::span<const std::int32_t> BatchTables::lengths() const {
  return {lengths_.as<std::int32_t>(), static_cast<std::size_t>(sequences_)};
}

const PinnedBlocks& BatchTables::pinned(int sequence, int layer, int kv_head) const {
  const KvCacheConfig& config = cache_->config();
  const std::int64_t row = std::int64_t{sequence} * config.layers + layer;
  return pins_.as<PinnedBlocks>()[row * config.kv_heads + kv_head];
}

const std::int32_t* BatchTables::page_table() const { return tables_.as<std::int32_t>(); }

}  // namespace sinkrouter
