#include "kv/kv_cache.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "base/check.h"
#include "base/dtype.h"
#include "kv/batch_tables.h"
#include "kv/rotation.h"

namespace sinkrouter {
namespace {

constexpr int kMaxSequences = 1 << 20;
constexpr int kMaxLayers = 1 << 16;
constexpr int kMaxHeads = 1 << 16;
constexpr int kMaxHeadDim = 1 << 16;

void check_range(std::string_view field, int value, int limit) {
  SR_CHECK(value >= 1 && value <= limit, kInvalidArgument, "KV cache {} is {}: expected 1 to {}",
           field, value, limit);
}

// Validates, and returns the number of pages.
int count_pages(const KvCacheConfig& config) {
  check_range("layers", config.layers, kMaxLayers);
  check_range("kv_heads", config.kv_heads, kMaxHeads);
  check_range("head_dim", config.head_dim, kMaxHeadDim);
  check_range("max_sequences", config.max_sequences, kMaxSequences);
  SR_CHECK(
      config.dtype == DType::kF32 || config.dtype == DType::kBF16 || config.dtype == DType::kF16,
      kInvalidArgument, "KV cache dtype is {}: expected f32, bf16 or f16", name(config.dtype));
  SR_CHECK(config.page_size == 32 || config.page_size == 64 || config.page_size == 128 ||
               config.page_size == 256,
           kInvalidArgument, "KV cache page_size is {}: expected 32, 64, 128 or 256",
           config.page_size);
  SR_CHECK(config.sketch_bits == 0 || config.sketch_bits == 2 || config.sketch_bits == 4,
           kInvalidArgument, "KV cache sketch_bits is {}: expected 0, 2 or 4", config.sketch_bits);
  SR_CHECK(config.sketch_bits == 0 || config.head_dim % 16 == 0, kInvalidArgument,
           "KV cache head_dim is {}: row sketches need a multiple of 16", config.head_dim);
  // Lengths are 32 bits; a page more must not overflow them.
  constexpr std::int64_t kMaxTokens = std::numeric_limits<std::int32_t>::max() - 256;
  SR_CHECK(config.capacity_tokens >= 1 && config.capacity_tokens <= kMaxTokens, kInvalidArgument,
           "KV cache capacity_tokens is {}: expected 1 to {}", config.capacity_tokens, kMaxTokens);
  return static_cast<int>((config.capacity_tokens + config.page_size - 1) / config.page_size);
}

PagedArrayShape array_shape(const KvCacheConfig& config, int pages, int rows_per_entry,
                            std::int64_t entry_bytes) {
  return {config.layers, pages, config.kv_heads, config.page_size, rows_per_entry, entry_bytes};
}

std::int64_t sketch_codes_bytes(const KvCacheConfig& config) {
  return std::int64_t{config.head_dim} * config.sketch_bits / 8 * kBlockSize;
}

std::int64_t sketch_scales_bytes(const KvCacheConfig& config) {
  return config.sketch_bits == 0 ? 0 : std::int64_t{kBlockSize} * sizeof(Float16);
}

std::int64_t sketch_misses_bytes(const KvCacheConfig& config) {
  return config.sketch_bits == 4 ? std::int64_t{kBlockSize} * sizeof(Float16) : 0;
}

std::int64_t box_bytes(const KvCacheConfig& config) {
  return config.key_boxes ? 2 * std::int64_t{config.head_dim} * sizeof(BFloat16) : 0;
}

std::int64_t row_bytes(const KvCacheConfig& config) {
  return config.head_dim * static_cast<std::int64_t>(size_in_bytes(config.dtype));
}

template <typename T>
void convert_row(const float* from, int count, std::byte* to) {
  T* out = reinterpret_cast<T*>(to);
  for (int i = 0; i < count; ++i) out[i] = from_float<T>(from[i]);
}

template <>
void convert_row<float>(const float* from, int count, std::byte* to) {
  std::memcpy(to, from, sizeof(float) * count);
}

}  // namespace

BlockRange filled_blocks(int position, int n) {
  return {position / kBlockSize, static_cast<int>((std::int64_t{position} + n) / kBlockSize)};
}

KvCache::KvCache(const KvCacheConfig& config)
    : config_(config),
      pool_(count_pages(config)),
      keys_(array_shape(config, pages(), 1, row_bytes(config)), "the keys of the KV cache"),
      values_(array_shape(config, pages(), 1, row_bytes(config)), "the values of the KV cache"),
      codes_(array_shape(config, pages(), kBlockSize, 2 * std::int64_t{config.head_dim}),
             "the block moments of the KV cache"),
      scales_(array_shape(config, pages(), kBlockSize, sizeof(float)),
              "the block scales of the KV cache"),
      sketch_codes_(array_shape(config, pages(), kBlockSize, sketch_codes_bytes(config)),
                    "the row sketches of the KV cache"),
      sketch_scales_(array_shape(config, pages(), kBlockSize, sketch_scales_bytes(config)),
                     "the row sketch scales of the KV cache"),
      sketch_misses_(array_shape(config, pages(), kBlockSize, sketch_misses_bytes(config)),
                     "what the row sketches of the KV cache miss"),
      boxes_(array_shape(config, pages(), kBlockSize, box_bytes(config)),
             "the key boxes of the KV cache"),
      tables_(checked_multiply(std::int64_t{pages()} * 4, config.max_sequences, "page tables"),
              false, "page tables"),
      pins_(checked_multiply(checked_multiply(std::int64_t{config.layers} * config.kv_heads,
                                              config.max_sequences, "pinned blocks"),
                             sizeof(PinnedBlocks), "pinned blocks"),
            false, "pinned blocks"),
      slots_(config.max_sequences) {
  if (config.sketch_bits != 0) rotation_ = rotation_matrix(config.head_dim);
  free_slots_.reserve(slots_.size());
  for (int s = config.max_sequences - 1; s >= 0; --s) free_slots_.push_back(s);
}

std::int64_t KvCache::bytes_per_page() const {
  return config_.layers *
         (keys_.page_bytes() + values_.page_bytes() + codes_.page_bytes() + scales_.page_bytes() +
          sketch_codes_.page_bytes() + sketch_scales_.page_bytes() + sketch_misses_.page_bytes() +
          boxes_.page_bytes());
}

const KvCache::Slot& KvCache::slot(SequenceId id) const {
  SR_CHECK(id.cache == this, kInvalidArgument, "the sequence does not belong to this KV cache");
  const bool known = id.slot >= 0 && static_cast<std::size_t>(id.slot) < slots_.size();
  SR_CHECK(known && slots_[id.slot].live && slots_[id.slot].generation == id.generation,
           kInvalidArgument, "sequence {} was released", id.slot);
  return slots_[id.slot];
}

KvCache::Slot& KvCache::slot(SequenceId id) {
  return const_cast<Slot&>(static_cast<const KvCache*>(this)->slot(id));
}

std::int32_t* KvCache::table(std::int32_t slot_index) const {
  return tables_.as<std::int32_t>() + std::int64_t{slot_index} * pages();
}

std::span<PinnedBlocks> KvCache::pins(std::int32_t slot_index) const {
  const std::int64_t each = std::int64_t{config_.layers} * config_.kv_heads;
  return {pins_.as<PinnedBlocks>() + slot_index * each, static_cast<std::size_t>(each)};
}

void KvCache::check_layer(int layer) const {
  SR_CHECK(layer >= 0 && layer < config_.layers, kInvalidArgument, "layer is {}: expected 0 to {}",
           layer, config_.layers - 1);
}

void KvCache::check_kv_head(int kv_head) const {
  SR_CHECK(kv_head >= 0 && kv_head < config_.kv_heads, kInvalidArgument,
           "kv_head is {}: expected 0 to {}", kv_head, config_.kv_heads - 1);
}

int KvCache::pages_for(int tokens) const {
  return (tokens + config_.page_size - 1) / config_.page_size;
}

SequenceId KvCache::create() {
  SR_CHECK(!free_slots_.empty(), kOutOfCapacity,
           "all {} sequences of the KV cache are in use: release one or raise max_sequences",
           config_.max_sequences);
  const std::int32_t index = free_slots_.back();
  free_slots_.pop_back();
  Slot& sequence = slots_[index];
  sequence = {sequence.generation + 1, true, 0, 0, 0};
  std::ranges::fill(pins(index), PinnedBlocks{});
  return {this, index, sequence.generation};
}

SequenceId KvCache::fork(SequenceId id) {
  const Slot& source = slot(id);
  SR_CHECK(source.reserved == source.length, kInvalidArgument,
           "sequence {} has {} reserved tokens that are not committed: commit or truncate before a "
           "fork",
           id.slot, source.reserved - source.length);
  const SequenceId copy = create();
  Slot& target = slots_[copy.slot];
  target.length = target.reserved = source.length;
  target.page_count = source.page_count;
  std::copy_n(table(id.slot), source.page_count, table(copy.slot));
  for (std::int32_t page : page_table(copy)) pool_.share(page);
  std::ranges::copy(pins(id.slot), pins(copy.slot).begin());
  return copy;
}

void KvCache::release(SequenceId id) {
  Slot& sequence = slot(id);
  drop_pages(sequence, id.slot, 0);
  sequence.live = false;
  free_slots_.push_back(id.slot);
}

int KvCache::sequences() const { return static_cast<int>(slots_.size() - free_slots_.size()); }

int KvCache::length(SequenceId id) const { return slot(id).length; }

int KvCache::reserved(SequenceId id) const { return slot(id).reserved; }

void KvCache::truncate(SequenceId id, int length) {
  Slot& sequence = slot(id);
  SR_CHECK(length >= 0 && length <= sequence.length, kInvalidArgument,
           "cannot truncate a sequence of {} tokens to {}", sequence.length, length);
  drop_pages(sequence, id.slot, pages_for(length));
  sequence.length = sequence.reserved = length;
  for (PinnedBlocks& blocks : pins(id.slot)) {
    while (blocks.count > 0 && (blocks.blocks[blocks.count - 1] + 1) * kBlockSize > length) {
      --blocks.count;
    }
  }
}

void KvCache::drop_pages(Slot& sequence, std::int32_t slot_index, int keep) {
  const std::int32_t* pages_of = table(slot_index);
  while (sequence.page_count > keep) pool_.release(pages_of[--sequence.page_count]);
}

void KvCache::reserve(SequenceId id, int n) {
  Slot& sequence = slot(id);
  SR_CHECK(n >= 0, kInvalidArgument, "cannot reserve {} tokens: expected >= 0", n);
  const std::int64_t end = std::int64_t{sequence.length} + n;
  if (end <= sequence.reserved) return;
  std::int32_t* pages_of = table(id.slot);
  const int last = sequence.length / config_.page_size;
  const int rows_in_last = sequence.length % config_.page_size;
  // Room reserved before has made the page this sequence's own.
  const bool copies = rows_in_last != 0 && pool_.references(pages_of[last]) > 1;
  const std::int64_t new_pages =
      (end + config_.page_size - 1) / config_.page_size - sequence.page_count;
  const std::int64_t needed = new_pages + (copies ? 1 : 0);
  SR_CHECK(needed <= free_pages(), kOutOfCapacity,
           "the KV cache is full: {} more tokens need {} pages of {} tokens, {} of {} are free; "
           "release sequences or raise the capacity of {} tokens",
           n, needed, config_.page_size, free_pages(), pages(), config_.capacity_tokens);
  if (copies) {
    const std::int32_t shared = pages_of[last];
    const std::int32_t own = pool_.acquire();
    for (PagedArray* array : {&keys_, &values_, &codes_, &scales_, &sketch_codes_, &sketch_scales_,
                              &sketch_misses_, &boxes_}) {
      array->copy_page(shared, own, rows_in_last);
    }
    pages_of[last] = own;
    pool_.release(shared);
  }
  for (std::int64_t i = 0; i < new_pages; ++i) pages_of[sequence.page_count++] = pool_.acquire();
  sequence.reserved = static_cast<int>(end);
}

void KvCache::store_rows(int layer, SequenceId id, int position, int n, const float* keys,
                         const float* values, std::int64_t row_stride) {
  const Slot& sequence = slot(id);
  check_layer(layer);
  SR_CHECK(n >= 0 && position >= sequence.length && std::int64_t{position} + n <= sequence.reserved,
           kInvalidArgument,
           "cannot store {} rows at position {}: expected rows within {} to {}, reserved and not "
           "committed",
           n, position, sequence.length, sequence.reserved);
  const std::int32_t* pages_of = table(id.slot);
  visit_dtype<float, BFloat16, Float16>(config_.dtype, [&]<typename T>() {
    for (int i = 0; i < n; ++i) {
      const std::int32_t page = pages_of[(position + i) / config_.page_size];
      const int row = (position + i) % config_.page_size;
      for (int head = 0; head < config_.kv_heads; ++head) {
        const std::int64_t offset = i * row_stride + std::int64_t{head} * config_.head_dim;
        convert_row<T>(keys + offset, config_.head_dim, keys_.entry(layer, page, head, row));
        convert_row<T>(values + offset, config_.head_dim, values_.entry(layer, page, head, row));
      }
    }
  });
}

void KvCache::commit(SequenceId id, int n) {
  Slot& sequence = slot(id);
  SR_CHECK(n >= 0 && std::int64_t{sequence.length} + n <= sequence.reserved, kInvalidArgument,
           "cannot commit {} tokens: {} are reserved", n, sequence.reserved - sequence.length);
  sequence.length += n;
}

BlockSlot KvCache::block(int layer, SequenceId id, int kv_head, int block) {
  const Slot& sequence = slot(id);
  check_layer(layer);
  check_kv_head(kv_head);
  const std::int64_t end = (std::int64_t{block} + 1) * kBlockSize;
  SR_CHECK(block >= 0 && end > sequence.length && end <= sequence.reserved, kInvalidArgument,
           "block {} does not end within tokens {} to {}, reserved and not committed", block,
           sequence.length, sequence.reserved);
  const int blocks_per_page = config_.page_size / kBlockSize;
  const std::int32_t page = table(id.slot)[block / blocks_per_page];
  const int within = block % blocks_per_page;
  BlockSlot result;
  result.keys = keys_.entry(layer, page, kv_head, within * kBlockSize);
  result.token_stride = config_.head_dim;
  result.codes = reinterpret_cast<std::uint8_t*>(codes_.entry(layer, page, kv_head, within));
  result.scale = reinterpret_cast<float*>(scales_.entry(layer, page, kv_head, within));
  if (config_.sketch_bits != 0) {
    result.sketch_codes =
        reinterpret_cast<std::uint32_t*>(sketch_codes_.entry(layer, page, kv_head, within));
    result.sketch_scales =
        reinterpret_cast<Float16*>(sketch_scales_.entry(layer, page, kv_head, within));
  }
  if (sketch_misses_bytes(config_) != 0) {
    result.sketch_misses =
        reinterpret_cast<Float16*>(sketch_misses_.entry(layer, page, kv_head, within));
  }
  if (config_.key_boxes) {
    result.box = reinterpret_cast<BFloat16*>(boxes_.entry(layer, page, kv_head, within));
  }
  return result;
}

void KvCache::pin(SequenceId id, int layer, int kv_head, const PinnedBlocks& blocks) {
  const Slot& sequence = slot(id);
  check_layer(layer);
  check_kv_head(kv_head);
  SR_CHECK(blocks.count >= 0 && blocks.count <= kMaxPinnedBlocks, kInvalidArgument,
           "cannot pin {} blocks: expected 0 to {}", blocks.count, kMaxPinnedBlocks);
  std::int32_t previous = -1;
  for (const std::int32_t block : blocks.list()) {
    SR_CHECK(block > previous && (std::int64_t{block} + 1) * kBlockSize <= sequence.reserved,
             kInvalidArgument,
             "cannot pin block {} after block {}: expected ascending blocks within the {} reserved "
             "rows",
             block, previous, sequence.reserved);
    previous = block;
  }
  pins(id.slot)[static_cast<std::size_t>(layer) * config_.kv_heads + kv_head] = blocks;
}

std::span<const PinnedBlocks> KvCache::pinned(SequenceId id) const {
  static_cast<void>(slot(id));
  return pins(id.slot);
}

std::span<const std::int32_t> KvCache::page_table(SequenceId id) const {
  return {table(id.slot), static_cast<std::size_t>(slot(id).page_count)};
}

KvView KvCache::view(int layer, const BatchTables& tables) const {
  check_layer(layer);
  SR_CHECK(&tables.cache() == this, kInvalidArgument,
           "the batch tables were made for another KV cache");
  KvView view;
  view.keys = keys_.layer(layer);
  view.values = values_.layer(layer);
  view.dtype = config_.dtype;
  view.token_stride = config_.head_dim;
  view.head_stride = view.token_stride * config_.page_size;
  view.page_stride = view.head_stride * config_.kv_heads;
  view.page_size = config_.page_size;
  view.kv_heads = config_.kv_heads;
  view.head_dim = config_.head_dim;
  view.sequences = tables.sequences();
  view.page_table = tables.page_table();
  view.page_table_stride = tables.page_table_stride();
  view.lengths = tables.lengths().data();
  return view;
}

MomentsView KvCache::moments(int layer) const {
  check_layer(layer);
  return {reinterpret_cast<const std::uint8_t*>(codes_.layer(layer)),
          reinterpret_cast<const float*>(scales_.layer(layer))};
}

SketchView KvCache::sketches(int layer) const {
  check_layer(layer);
  SketchView view;
  if (config_.sketch_bits == 0) return view;
  view.bits = config_.sketch_bits;
  view.codes = reinterpret_cast<const std::uint32_t*>(sketch_codes_.layer(layer));
  view.scales = reinterpret_cast<const Float16*>(sketch_scales_.layer(layer));
  if (sketch_misses_bytes(config_) != 0) {
    view.misses = reinterpret_cast<const Float16*>(sketch_misses_.layer(layer));
  }
  view.rotation = rotation_.data();
  return view;
}

BoxesView KvCache::boxes(int layer) const {
  check_layer(layer);
  if (!config_.key_boxes) return {};
  return {reinterpret_cast<const BFloat16*>(boxes_.layer(layer))};
}

}  // namespace sinkrouter
