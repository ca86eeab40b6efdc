#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "base/rng.h"
#include "bench/memory_read.h"
#include "bench/random_lists.h"
#include "router/kept_set.h"
#include "sinkrouter/bench.h"
#include "sinkrouter/error.h"

namespace sinkrouter {
namespace {

TEST(RandomLists, HoldTheKeptSetAndTheShareAskedFor) {
  const std::uint64_t seed = std::random_device{}();
  SCOPED_TRACE(seed);
  Rng rng(seed);
  for (int granule : {1, 32, 64}) {
    const ListChoice choice{.routed = 0.5, .read = 0.25, .window = 64, .granule = granule};
    const int length = 1500 + static_cast<int>(rng.below(3000));
    RandomLists lists(choice, 3, 4, length, seed);
    const GranuleLists view = lists.view();
    const KeptSet kept = make_kept_set(length, granule, choice.window);
    int routed = 0;
    std::int64_t rows = 0;
    int kept_count = 0;
    for (int index = 0; index < kept.granules; ++index) kept_count += kept.contains(index) ? 1 : 0;
    for (int group = 0; group < 12; ++group) {
      const std::int32_t* list = view.granules + group * view.capacity;
      const int count = view.counts[group];
      EXPECT_TRUE(std::is_sorted(list, list + count));
      EXPECT_EQ(std::adjacent_find(list, list + count), list + count);
      for (int index = 0; index < kept.granules; ++index) {
        EXPECT_TRUE(!kept.contains(index) || std::binary_search(list, list + count, index));
      }
      for (int i = 0; i < count; ++i) {
        ASSERT_LT(list[i], kept.granules);
        rows += std::min(granule, length - list[i] * granule);
      }
      routed += count == kept_count ? 1 : 0;
      if (count != kept_count) {
        EXPECT_NEAR(count - kept_count, 0.25 * (kept.granules - kept_count), 1);
      }
    }
    EXPECT_EQ(routed, 6);
    EXPECT_EQ(rows, lists.rows());
  }
}

TEST(AttentionBench, FullListsReadEverything) {
  AttentionBenchOptions options;
  options.shape = attention_shape("embedded");
  options.context = 1000;
  options.batch = 2;
  options.threads = 2;
  options.seconds = 0.02;
  const AttentionBenchResult result = bench_attention(options);
  EXPECT_DOUBLE_EQ(result.kv_read_fraction, 1.0);
  EXPECT_EQ(result.layers, 8);
  EXPECT_GT(result.median_us, 0);
  options.router = true;
  EXPECT_GT(bench_attention(options).kv_read_fraction, 1.0);
}

TEST(AttentionBench, ListsMayNameSingleRows) {
  AttentionBenchOptions options;
  options.shape = attention_shape("embedded");
  options.context = 1000;
  options.read = 0.5;
  options.granule = 1;
  options.threads = 1;
  options.seconds = 0.02;
  // 32 sink rows, at least 64 last ones, half of the rest.
  EXPECT_NEAR(bench_attention(options).kv_read_fraction, 0.55, 0.02);
}

TEST(AttentionBench, UnknownShapesAreErrors) {
  EXPECT_THROW(attention_shape("cube"), Error);
  for (const AttentionShape& shape : known_attention_shapes()) {
    EXPECT_EQ(attention_shape(shape.name).q_heads % shape.kv_heads, 0);
  }
}

TEST(MemoryRead, TakesTime) {
  ThreadPool threads(2);
  MemoryRead memory(1 << 22, 1);
  EXPECT_EQ(memory.bytes(), 1 << 22);
  EXPECT_GT(memory.pass(threads), 0);
}

}  // namespace
}  // namespace sinkrouter
