#include "support/allocation_count.h"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

namespace {

std::atomic<std::int64_t> allocations{0};

void* counted(std::size_t bytes, std::size_t alignment) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  const std::size_t rounded = (std::max<std::size_t>(bytes, 1) + alignment - 1) & ~(alignment - 1);
  return rounded < bytes ? nullptr : std::aligned_alloc(alignment, rounded);
}

void* counted(std::size_t bytes) { return counted(bytes, alignof(std::max_align_t)); }
void* counted(std::size_t bytes, std::align_val_t alignment) {
  return counted(bytes, static_cast<std::size_t>(alignment));
}

void* or_throw(void* memory) {
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

namespace sinkrouter::testing {
std::int64_t allocation_count() { return allocations.load(std::memory_order_relaxed); }
}  // namespace sinkrouter::testing

// All forms, because a sanitizer brings its own of those that are left out.
using Align = std::align_val_t;
using NoThrow = std::nothrow_t;
void* operator new(std::size_t bytes) { return or_throw(counted(bytes)); }
void* operator new[](std::size_t bytes) { return or_throw(counted(bytes)); }
void* operator new(std::size_t bytes, Align align) { return or_throw(counted(bytes, align)); }
void* operator new[](std::size_t bytes, Align align) { return or_throw(counted(bytes, align)); }
void* operator new(std::size_t bytes, const NoThrow&) noexcept { return counted(bytes); }
void* operator new[](std::size_t bytes, const NoThrow&) noexcept { return counted(bytes); }
void* operator new(std::size_t bytes, Align align, const NoThrow&) noexcept {
  return counted(bytes, align);
}
void* operator new[](std::size_t bytes, Align align, const NoThrow&) noexcept {
  return counted(bytes, align);
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, Align) noexcept { std::free(memory); }
void operator delete[](void* memory, Align) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, Align) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t, Align) noexcept { std::free(memory); }
void operator delete(void* memory, const NoThrow&) noexcept { std::free(memory); }
void operator delete[](void* memory, const NoThrow&) noexcept { std::free(memory); }
void operator delete(void* memory, Align, const NoThrow&) noexcept { std::free(memory); }
void operator delete[](void* memory, Align, const NoThrow&) noexcept { std::free(memory); }
