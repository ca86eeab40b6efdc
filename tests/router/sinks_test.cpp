#include "router/sinks.h"

#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include "base/block_size.h"

namespace sinkrouter::test {
namespace {

std::vector<std::int32_t> found(const KeptSet& kept, const std::vector<float>& masses,
                                std::size_t room) {
  std::vector<SinkBlock> sinks(room);
  const int count = find_sinks(kept, masses, sinks);
  std::vector<std::int32_t> blocks;
  for (int i = 0; i < count; ++i) {
    EXPECT_EQ(sinks[i].mass, masses[sinks[i].block]);
    blocks.push_back(sinks[i].block);
  }
  return blocks;
}

TEST(FindSinks, TakesTheHeaviestOutsideTheKeptSet) {
  const KeptSet kept = make_kept_set(20 * kBlockSize, kBlockSize, 64);
  std::vector<float> masses(20, 0.01f);
  masses[0] = masses[19] = 0.9f;
  EXPECT_TRUE(found(kept, masses, 4).empty());
  masses[4] = 0.2f;
  masses[17] = 0.3f;
  masses[9] = 0.15f;
  EXPECT_EQ(found(kept, masses, 4), (std::vector<std::int32_t>{4, 9, 17}));
  EXPECT_EQ(found(kept, masses, 2), (std::vector<std::int32_t>{4, 17}));
  EXPECT_EQ(found(kept, masses, 1), (std::vector<std::int32_t>{17}));
  EXPECT_TRUE(found(kept, masses, 0).empty());
  masses[4] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(found(kept, masses, 4), (std::vector<std::int32_t>{9, 17}));
}

TEST(RefreshSinks, KnownOnesFadeAndNewOnesComeIn) {
  const KeptSet kept = make_kept_set(20 * kBlockSize, kBlockSize, 64);
  std::vector<float> masses(20, 0.0f);
  masses[6] = 0.4f;
  std::vector<SinkBlock> sinks = {{3, 0.6f}, {9, 0.08f}};
  const auto look = [&](std::size_t room) {
    std::vector<SinkBlock> next(room);
    next.resize(refresh_sinks(kept, masses, sinks, next));
    sinks = next;
    std::vector<std::int32_t> blocks;
    for (const SinkBlock& sink : sinks) blocks.push_back(sink.block);
    return blocks;
  };
  EXPECT_EQ(look(4), (std::vector<std::int32_t>{3, 6}));  // 0.3 and new; 9 is forgotten
  EXPECT_FLOAT_EQ(sinks[0].mass, 0.3f);
  EXPECT_EQ(look(4), (std::vector<std::int32_t>{3, 6}));  // 0.15
  EXPECT_EQ(look(4), (std::vector<std::int32_t>{3, 6}));  // 0.075
  EXPECT_EQ(look(4), (std::vector<std::int32_t>{6}));
  masses[11] = 0.9f;
  EXPECT_EQ(look(1), (std::vector<std::int32_t>{6}));  // no room
  masses[6] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(look(1), (std::vector<std::int32_t>{11}));
}

TEST(FindSinks, AShortSequenceHasNone) {
  for (int length : {0, 1, 32, 64, 95}) {
    const KeptSet kept = make_kept_set(length, kBlockSize, 64);
    EXPECT_TRUE(found(kept, std::vector<float>(kept.granules, 0.5f), 4).empty()) << length;
  }
}

}  // namespace
}  // namespace sinkrouter::test
