#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <new>

#include "base/threads.h"
#include "support/allocation_count.h"

namespace sinkrouter {
namespace {

using testing::allocation_count;

TEST(Allocations, AreCountedInEveryForm) {
  constexpr std::align_val_t kAlign{64};
  const std::function<void()> forms[] = {
      [] { ::operator delete(::operator new(8)); },
      [] { ::operator delete[](::operator new[](8)); },
      [] { ::operator delete(::operator new(8, kAlign), kAlign); },
      [] { ::operator delete[](::operator new[](8, kAlign), kAlign); },
      [] { ::operator delete(::operator new(8, std::nothrow), std::nothrow); },
      [] { ::operator delete[](::operator new[](8, std::nothrow), std::nothrow); },
      [] { ::operator delete(::operator new(8, kAlign, std::nothrow), kAlign, std::nothrow); },
      [] { ::operator delete[](::operator new[](8, kAlign, std::nothrow), kAlign, std::nothrow); },
  };
  for (const auto& allocate_once : forms) {
    const std::int64_t before = allocation_count();
    allocate_once();
    EXPECT_EQ(allocation_count(), before + 1) << "form " << &allocate_once - forms;
  }
}

TEST(Allocations, ThreadPoolRunMakesNone) {
  ThreadPool pool(3);
  int big_capture[64] = {};
  std::atomic<int> calls{0};
  const std::int64_t before = allocation_count();
  for (int loop = 0; loop < 1000; ++loop) {
    pool.run(50, [&calls, big_capture](int index, int) { calls += 1 + big_capture[index]; });
  }
  EXPECT_EQ(allocation_count(), before);
  EXPECT_EQ(calls, 50000);
}

}  // namespace
}  // namespace sinkrouter
