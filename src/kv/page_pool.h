#pragma once

#include <cstdint>

#include "kv/virtual_memory.h"

namespace sinkrouter {

// Reference-counted page numbers 0 ... pages - 1. Fresh ones are handed out in ascending order,
// released ones first, last in first out.
class PagePool {
 public:
  PagePool() = default;
  explicit PagePool(int pages);

  int pages() const { return pages_; }
  int free_pages() const { return released_ + (pages_ - fresh_); }

  std::int32_t acquire();  // count 1; there must be a free page
  void share(std::int32_t page);
  void release(std::int32_t page);
  int references(std::int32_t page) const { return counts_.as<std::int32_t>()[page]; }

 private:
  int pages_ = 0;
  int fresh_ = 0;         // pages below were handed out at least once
  int released_ = 0;      // entries on the stack
  VirtualMemory counts_;  // int32 [pages]
  VirtualMemory stack_;   // int32 [pages]
};

}  // namespace sinkrouter
