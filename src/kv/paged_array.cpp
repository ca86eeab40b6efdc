#include "kv/paged_array.h"

#include <cstring>

#include "base/check.h"

namespace sinkrouter {
namespace {

// An array of at least this size takes huge pages, which would waste most of their last one on a
// smaller one.
constexpr std::int64_t kLargeArray = std::int64_t{1} << 20;
constexpr std::int64_t kSmallPage = 4096;

std::int64_t padded_layer_bytes(std::int64_t bytes, std::string_view purpose) {
  std::int64_t padded = 0;
  SR_CHECK(!__builtin_add_overflow(bytes, kSmallPage - 1, &padded), kInvalidArgument,
           "{} overflow: {} bytes in one layer", purpose, bytes);
  return padded / kSmallPage * kSmallPage;
}

}  // namespace

PagedArray::PagedArray(const PagedArrayShape& shape, std::string_view purpose) : shape_(shape) {
  SR_ASSERT(shape.page_size % shape.rows_per_entry == 0);
  const int entries = shape.page_size / shape.rows_per_entry;
  head_bytes_ = checked_multiply(entries, shape.entry_bytes, purpose);
  page_bytes_ = checked_multiply(head_bytes_, shape.kv_heads, purpose);
  layer_bytes_ = padded_layer_bytes(checked_multiply(page_bytes_, shape.pages, purpose), purpose);
  const std::int64_t bytes = checked_multiply(layer_bytes_, shape.layers, purpose);
  memory_ = VirtualMemory(bytes, bytes >= kLargeArray, purpose);
}

void PagedArray::copy_page(std::int32_t from, std::int32_t to, int rows) {
  const auto bytes = static_cast<std::size_t>(rows / shape_.rows_per_entry * shape_.entry_bytes);
  if (bytes == 0) return;
  for (int index = 0; index < shape_.layers; ++index) {
    for (int head = 0; head < shape_.kv_heads; ++head) {
      std::memcpy(entry(index, to, head, 0), entry(index, from, head, 0), bytes);
    }
  }
}

}  // namespace sinkrouter
