#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <random>

#include "backend/attention_fixture.h"
#include "backend/true_masses.h"
#include "base/block_size.h"
#include "sinkrouter/error.h"

namespace sinkrouter::test {
namespace {

constexpr int kDim = AttentionFixture::kDim;
constexpr PolicyOptions kDense{.kind = PolicyKind::kDense};

class Certified : public testing::Test {
 protected:
  Certified() : seed(std::random_device{}()), rng(seed), trace(__FILE__, __LINE__, seed) {}

  // Row 0 is a sink, row kFound is what every query looks for.
  static constexpr int kFound = 1000;
  void make(AttentionFixture& fixture, SequenceId id, int tokens) {
    const int kv_heads = fixture.cache().config().kv_heads;
    std::vector<float> keys = normals(std::int64_t{tokens} * kv_heads * kDim, rng, 0.5f);
    std::vector<float> direction = normals(kDim, rng);
    float square = 0;
    for (float x : direction) square += x * x;
    for (float& x : direction) x *= std::sqrt(kDim / square);
    for (int h = 0; h < kv_heads; ++h) {
      for (int row : {0, kFound}) {
        if (row >= tokens) continue;
        for (int c = 0; c < kDim; ++c) keys[(row * kv_heads + h) * kDim + c] = 2 * direction[c];
      }
    }
    queries = normals(std::int64_t{fixture.q_heads()} * kDim, rng, 0.3f);
    for (std::size_t i = 0; i < queries.size(); ++i) queries[i] += direction[i % kDim];
    fixture.append(id, keys, normals(keys.size(), rng));
  }

  std::uint64_t seed;
  Rng rng;
  testing::ScopedTrace trace;
  std::vector<float> queries;
};

TEST_F(Certified, LeavesAtMostEpsilonAndReadsWhatMatters) {
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    AttentionFixture fixture(2, 4, 3000, 4, dtype);
    const SequenceId id = fixture.cache().create();
    make(fixture, id, 2801);
    ReadStats stats;
    ReadRows read;
    const AttentionObserver observer = read.observer();
    const PolicyOptions policy{.kind = PolicyKind::kCertified, .epsilon = 0.05f};
    fixture.decode(id, queries, policy, &stats, &observer);
    TrueMasses masses(fixture.view(id));
    for (double unread : masses.unread(queries, fixture.scale(), read)) EXPECT_LE(unread, 0.05);
    std::int64_t rows = 0;
    for (const auto& list : read.lists) {
      EXPECT_TRUE(std::ranges::binary_search(list, kFound));
      EXPECT_LT(list.size(), 300u);
      rows += static_cast<std::int64_t>(list.size());
    }
    const auto element = static_cast<std::int64_t>(size_in_bytes(dtype));
    EXPECT_EQ(stats.attention_bytes, rows * 2 * kDim * element);
    const std::int64_t blocks = 2801 / kBlockSize - 1 - 64 / kBlockSize;  // not sink, not window
    EXPECT_EQ(stats.router_bytes, 2 * blocks * (32 * (kDim / 2 + 4) + kDim + 4));
  }
}

TEST_F(Certified, EpsilonZeroIsDense) {
  AttentionFixture fixture(2, 4, 3000, 4);
  const SequenceId id = fixture.cache().create();
  make(fixture, id, 1500);
  ReadRows read;
  const AttentionObserver observer = read.observer();
  fixture.decode(id, queries, {.kind = PolicyKind::kCertified, .epsilon = 0}, nullptr, &observer);
  for (const auto& list : read.lists) EXPECT_EQ(list.size(), 1500u);
}

TEST_F(Certified, ShortSequencesAndPinnedBlocks) {
  for (int tokens : {1, 31, 32, 33, 96, 97, 128, 129, 500}) {
    AttentionFixture fixture(1, 4, 1000, 4);
    const SequenceId id = fixture.cache().create();
    make(fixture, id, tokens);
    if (tokens == 500) {
      PinnedBlocks pins;
      pins.count = 1;
      pins.blocks[0] = 5;
      fixture.cache().reserve(id, 1);
      fixture.cache().pin(id, 0, 0, pins);
    }
    ReadRows read;
    const AttentionObserver observer = read.observer();
    fixture.decode(id, queries, {.kind = PolicyKind::kCertified, .epsilon = 0.3f}, nullptr,
                   &observer);
    TrueMasses masses(fixture.view(id));
    for (double unread : masses.unread(queries, fixture.scale(), read)) EXPECT_LE(unread, 0.3);
    if (tokens != 500) continue;
    for (int row = 5 * 32; row < 6 * 32; ++row) {
      EXPECT_TRUE(std::ranges::binary_search(read.lists[0], row));
    }
  }
}

TEST_F(Certified, NotANumberReadsEverything) {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), 1e30f}) {
    AttentionFixture fixture(1, 4, 3000, 4);
    const SequenceId id = fixture.cache().create();
    make(fixture, id, 2000);
    std::vector<float> keys = normals(64 * kDim, rng);
    keys[40 * kDim + 3] = bad;
    fixture.append(id, keys, normals(64 * kDim, rng));
    fixture.append(id, normals(200 * kDim, rng), normals(200 * kDim, rng));
    ReadRows read;
    const AttentionObserver observer = read.observer();
    fixture.decode(id, queries, {.kind = PolicyKind::kCertified, .epsilon = 0.05f}, nullptr,
                   &observer);
    EXPECT_EQ(read.lists[0].size(), 2264u) << bad;
  }
}

TEST_F(Certified, OtherSketchesAreRefused) {
  for (const int bits : {0, 2}) {
    AttentionFixture fixture(1, 1, 500, bits);
    const SequenceId id = fixture.cache().create();
    make(fixture, id, 200);
    try {
      fixture.decode(id, queries, {.kind = PolicyKind::kCertified});
      FAIL();
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("sketch_bits 4"), std::string::npos);
    }
    EXPECT_NO_THROW(fixture.decode(id, queries, kDense));
  }
}

}  // namespace
}  // namespace sinkrouter::test
