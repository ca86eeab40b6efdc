#include "kv/page_pool.h"

#include "base/check.h"

namespace sinkrouter {

PagePool::PagePool(int pages)
    : pages_(pages),
      counts_(std::int64_t{pages} * 4, false, "page reference counts"),
      stack_(std::int64_t{pages} * 4, false, "the free page stack") {}

std::int32_t PagePool::acquire() {
  SR_ASSERT(free_pages() > 0);
  const std::int32_t page = released_ > 0 ? stack_.as<std::int32_t>()[--released_] : fresh_++;
  counts_.as<std::int32_t>()[page] = 1;
  return page;
}

void PagePool::share(std::int32_t page) {
  SR_ASSERT(references(page) > 0);
  ++counts_.as<std::int32_t>()[page];
}

void PagePool::release(std::int32_t page) {
  SR_ASSERT(references(page) > 0);
  if (--counts_.as<std::int32_t>()[page] == 0) stack_.as<std::int32_t>()[released_++] = page;
}

}  // namespace sinkrouter
