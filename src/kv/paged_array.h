#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "kv/virtual_memory.h"

namespace sinkrouter {

// What one array keeps for each page and KV head: an entry per `rows_per_entry` rows.
struct PagedArrayShape {
  int layers = 0;
  int pages = 0;
  int kv_heads = 0;
  int page_size = 0;       // rows
  int rows_per_entry = 1;  // 1 for rows, kBlockSize for blocks; divides page_size
  std::int64_t entry_bytes = 0;
};

// Storage [layers][pages, kv_heads, page_size / rows_per_entry, entry_bytes]: keys, values, and any
// data beside them, indexed by physical page. Layers start on memory page boundaries; large arrays
// ask for huge pages.
class PagedArray {
 public:
  PagedArray() = default;
  PagedArray(const PagedArrayShape& shape, std::string_view purpose);

  std::byte* layer(int layer) const { return memory_.data() + layer * layer_bytes_; }
  std::byte* entry(int layer, std::int32_t page, int kv_head, int entry) const {
    return this->layer(layer) + page * page_bytes_ + kv_head * head_bytes_ +
           entry * shape_.entry_bytes;
  }
  std::int64_t page_bytes() const { return page_bytes_; }  // of one layer

  // Copies the complete entries of the first `rows` rows of a page, all layers and heads.
  void copy_page(std::int32_t from, std::int32_t to, int rows);

 private:
  PagedArrayShape shape_;
  std::int64_t head_bytes_ = 0;
  std::int64_t page_bytes_ = 0;
  std::int64_t layer_bytes_ = 0;
  VirtualMemory memory_;
};

}  // namespace sinkrouter
