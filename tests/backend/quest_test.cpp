#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <string>

#include "backend/attention_fixture.h"
#include "base/block_size.h"
#include "router/kept_set.h"
#include "router/traffic.h"
#include "sinkrouter/error.h"

namespace sinkrouter::test {
namespace {

constexpr int kDim = AttentionFixture::kDim;

TEST(Quest, ReadsItsBudgetAndNothingElse) {
  const std::uint64_t seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  Rng rng(seed);
  constexpr int kTokens = 2000;
  constexpr int kPlanted = 30;  // the block that the query looks for
  AttentionFixture fixture(1, 1, 4096, 0, DType::kF32, 2, true);
  const SequenceId id = fixture.cache().create();
  const std::vector<float> query = normals(kDim, rng);
  std::vector<float> keys = normals(kTokens * kDim, rng, 0.1f);
  std::vector<float> values = normals(kTokens * kDim, rng);
  for (int i = 0; i < kDim; ++i) keys[(kPlanted * kBlockSize + 5) * kDim + i] += query[i];
  // A block against the query is the last that anything would read.
  constexpr int kOpposite = 40;
  for (int row = kOpposite * kBlockSize; row < (kOpposite + 1) * kBlockSize; ++row) {
    for (int i = 0; i < kDim; ++i) {
      keys[row * kDim + i] = -query[i];
      values[row * kDim + i] = std::numeric_limits<float>::quiet_NaN();
    }
  }
  fixture.append(id, keys, values);

  std::vector<std::int32_t> list;
  const AttentionObserver observer = [&](const AttentionObservation& seen) {
    EXPECT_EQ(seen.granule, kBlockSize);
    list.assign(seen.lists.begin(), seen.lists.begin() + seen.list_counts[0]);
  };
  ReadStats stats;
  const PolicyOptions policy{.kind = PolicyKind::kQuest, .budget = 0.2f};
  const std::vector<float> output = fixture.decode(id, query, policy, &stats, &observer);
  EXPECT_TRUE(std::ranges::none_of(output, [](float x) { return std::isnan(x); }));
  const int blocks = granule_count(kTokens, kBlockSize);
  EXPECT_EQ(list.size(), static_cast<std::size_t>(std::ceil(double{policy.budget} * blocks)));
  EXPECT_TRUE(std::ranges::binary_search(list, kPlanted));
  EXPECT_FALSE(std::ranges::binary_search(list, kOpposite));
  EXPECT_EQ(stats.router_bytes, boxes_bytes(kTokens, kDim));
  EXPECT_EQ(stats.attention_bytes,
            row_bytes(listed_rows(list.data(), static_cast<int>(list.size()), kBlockSize, kTokens),
                      kDim, sizeof(float)));
}

TEST(Quest, NeedsKeyBoxes) {
  AttentionFixture fixture(1, 1, 256);
  const SequenceId id = fixture.cache().create();
  const std::vector<float> row(kDim, 1.0f);
  fixture.append(id, row, row);
  try {
    fixture.decode(id, row, {.kind = PolicyKind::kQuest});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), Error::Kind::kInvalidArgument);
    EXPECT_NE(std::string(error.what()).find("key_boxes"), std::string::npos);
  }
}

}  // namespace
}  // namespace sinkrouter::test
