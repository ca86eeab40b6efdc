#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "backend/attention_fixture.h"
#include "base/block_size.h"

namespace sinkrouter::test {
namespace {

constexpr int kDim = AttentionFixture::kDim;

// Keys of noise; those of the sinks point where every query points.
class PlantedSinks : public testing::Test {
 protected:
  PlantedSinks() : seed(std::random_device{}()), rng(seed), trace(__FILE__, __LINE__, seed) {
    direction = normals(kDim, rng);
  }

  std::vector<float> keys(int tokens, const std::vector<int>& sinks, float strength = 1.3f) {
    std::vector<float> rows = normals(std::int64_t{tokens} * kDim, rng, 0.4f);
    for (int sink : sinks) {
      for (int i = 0; i < kDim; ++i) rows[std::int64_t{sink} * kDim + i] = strength * direction[i];
    }
    return rows;
  }
  std::vector<float> values(int tokens) { return normals(std::int64_t{tokens} * kDim, rng); }
  std::vector<float> queries(int count) {
    std::vector<float> rows = normals(std::int64_t{count} * kDim, rng, 0.2f);
    for (std::size_t i = 0; i < rows.size(); ++i) rows[i] += 1.2f * direction[i % kDim];
    return rows;
  }
  static std::vector<std::int32_t> pinned(AttentionFixture& fixture, SequenceId id) {
    const auto list = fixture.cache().pinned(id)[0].list();
    return {list.begin(), list.end()};
  }

  std::uint64_t seed;
  Rng rng;
  testing::ScopedTrace trace;
  std::vector<float> direction;
};

TEST_F(PlantedSinks, AreFoundWhereTheyAre) {
  for (const std::vector<int>& sinks :
       {std::vector<int>{137}, std::vector<int>{137, 2500}, std::vector<int>{}}) {
    AttentionFixture fixture(1, 4, 4000);
    const SequenceId id = fixture.cache().create();
    fixture.append(id, keys(4000, sinks), values(4000));
    fixture.pin_sinks(id, queries(16 * 4));
    std::vector<std::int32_t> blocks;
    for (int sink : sinks) blocks.push_back(sink / kBlockSize);
    EXPECT_EQ(pinned(fixture, id), blocks);
    for (int i = 0; i < static_cast<int>(sinks.size()); ++i) {
      EXPECT_GT(fixture.cache().pinned(id)[0].masses[i], 0.2f);
    }
  }
}

TEST_F(PlantedSinks, LetTheGroupBeRouted) {
  AttentionFixture fixture(1, 4, 4000);
  const SequenceId id = fixture.cache().create();
  fixture.append(id, keys(4000, {137}, 2.5f), values(4000));
  const std::vector<float> query = queries(4);
  const PolicyOptions policy{.epsilon = 0.05f, .audit_share = 0};
  ReadStats before;
  fixture.decode(id, query, policy, &before);
  fixture.pin_sinks(id, queries(16 * 4));
  ReadStats after;
  fixture.decode(id, query, policy, &after);
  EXPECT_EQ(before.routed_decisions, 0);
  EXPECT_EQ(after.routed_decisions, 1);
}

TEST_F(PlantedSinks, CostNoMoreThanASinkAtTheBeginning) {
  const auto read_with_sink_at = [&](int sink, int granule) {
    constexpr int kTokens = 12000;  // of which one pinned block more is little
    AttentionFixture fixture(1, 4, kTokens);
    const SequenceId id = fixture.cache().create();
    fixture.append(id, keys(kTokens, {sink}, 3.0f), values(kTokens));
    fixture.pin_sinks(id, queries(16 * 4));
    const PolicyOptions policy{.epsilon = 0.05f, .granule = granule, .audit_share = 0};
    ReadStats stats;
    for (int step = 0; step < 20; ++step) fixture.decode(id, queries(4), policy, &stats);
    return stats.kv_read_fraction();
  };
  for (int granule : {1, 32}) {
    const double at_the_beginning = read_with_sink_at(0, granule);
    EXPECT_LT(at_the_beginning, 0.5);
    EXPECT_LT(read_with_sink_at(137, granule), 1.2 * at_the_beginning) << "granule " << granule;
    EXPECT_LT(read_with_sink_at(7500, granule), 1.2 * at_the_beginning) << "granule " << granule;
  }
}

// A sink that was not there when the prompt ended is found by the audit.
TEST_F(PlantedSinks, ThatAppearLateAreFoundWhileDecoding) {
  AttentionFixture fixture(1, 4, 21000);
  const SequenceId id = fixture.cache().create();
  fixture.append(id, keys(20000, {}), values(20000));
  fixture.pin_sinks(id, queries(16 * 4));
  EXPECT_TRUE(pinned(fixture, id).empty());
  fixture.append(id, keys(300, {10}, 2.0f), values(300));
  Audit audit(1, 1, kAuditTarget);
  const PolicyOptions policy{.epsilon = 0.05f, .audit_share = 1.0f / 8};
  for (int step = 0; step < 100; ++step) {
    fixture.decode(id, queries(4), policy, nullptr, nullptr, &audit);
  }
  EXPECT_EQ(pinned(fixture, id), (std::vector<std::int32_t>{20010 / kBlockSize}));
}

}  // namespace
}  // namespace sinkrouter::test
