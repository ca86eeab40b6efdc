#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "kv/cache_fixture.h"

// This program counts every allocation; that is why the operators are replaced here.
namespace {
std::atomic<std::int64_t> allocations{0};
}  // namespace

void* operator new(std::size_t size) {
  ++allocations;
  if (void* memory = std::malloc(size == 0 ? 1 : size)) return memory;
  throw std::bad_alloc();
}
// Not inlined, so that the compiler does not take free() for a mistake.
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace sinkrouter::test {
namespace {

TEST(KvAllocation, OperationsAllocateNothing) {
  const KvCacheConfig config = small_config(DType::kBF16, 32, 4096);
  KvCache cache(config);
  BatchTables tables(cache, 4);
  const std::vector<float> rows(static_cast<std::size_t>(config.kv_heads) * config.head_dim, 1.0f);
  const std::int64_t stride = config.kv_heads * config.head_dim;

  const std::int64_t before = allocations;
  const SequenceId first = cache.create();
  const auto append_token = [&](SequenceId id) {
    cache.reserve(id, 1);
    for (int layer = 0; layer < config.layers; ++layer) {
      cache.store_rows(layer, id, cache.length(id), 1, rows.data(), rows.data(), stride);
    }
    const SequenceId ids[] = {id};
    tables.fill(cache, ids, 1);
    cache.commit(id, 1);
  };
  for (int t = 0; t < 1000; ++t) append_token(first);
  const SequenceId second = cache.fork(first);
  for (int t = 0; t < 1000; ++t) append_token(second);
  cache.truncate(second, 10);
  cache.release(first);
  cache.release(second);
  const std::int64_t after = allocations;
  EXPECT_EQ(after - before, 0);

  int* volatile counted = new int(1);
  delete counted;
  EXPECT_GT(allocations, after) << "allocations are not counted";
}

}  // namespace
}  // namespace sinkrouter::test
