#include <gtest/gtest.h>

#include <cstdint>

#include "kv/cache_fixture.h"
#include "support/allocation_count.h"

namespace sinkrouter::test {
namespace {

TEST(KvAllocation, OperationsAllocateNothing) {
  const KvCacheConfig config = small_config(DType::kBF16, 32, 4096);
  KvCache cache(config);
  BatchTables tables(cache, 4);
  const std::vector<float> rows(static_cast<std::size_t>(config.kv_heads) * config.head_dim, 1.0f);
  const std::int64_t stride = config.kv_heads * config.head_dim;

  const std::int64_t before = testing::allocation_count();
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
  EXPECT_EQ(testing::allocation_count() - before, 0);
}

}  // namespace
}  // namespace sinkrouter::test
