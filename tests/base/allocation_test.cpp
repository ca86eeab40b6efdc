#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "base/threads.h"

// This program counts every allocation of every thread; that is why it is a
// program of its own.
namespace {
std::atomic<long> allocations{0};

void* counted(std::size_t bytes) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  if (void* memory = std::malloc(bytes == 0 ? 1 : bytes)) return memory;
  throw std::bad_alloc();
}
}  // namespace

void* operator new(std::size_t bytes) { return counted(bytes); }
void* operator new[](std::size_t bytes) { return counted(bytes); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }

namespace sinkrouter {
namespace {

TEST(Allocations, AreCounted) {
  const long before = allocations;
  delete new int(1);
  EXPECT_EQ(allocations, before + 1);
}

TEST(Allocations, ThreadPoolRunMakesNone) {
  ThreadPool pool(3);
  int big_capture[64] = {};
  std::atomic<int> calls{0};
  const long before = allocations;
  for (int loop = 0; loop < 1000; ++loop) {
    pool.run(50, [&calls, big_capture](int index, int) { calls += 1 + big_capture[index]; });
  }
  EXPECT_EQ(allocations, before);
  EXPECT_EQ(calls, 50000);
}

}  // namespace
}  // namespace sinkrouter
