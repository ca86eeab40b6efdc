#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <random>

#include "backend/attention_fixture.h"
#include "base/block_size.h"
#include "sinkrouter/error.h"

namespace sinkrouter::test {
namespace {

constexpr int kDim = AttentionFixture::kDim;
constexpr PolicyOptions kDense{.kind = PolicyKind::kDense};

struct Seen {
  std::vector<std::vector<std::int32_t>> lists;  // per KV head
  std::vector<float> unread;                     // true unread mass per q head
};

AttentionObserver watch(Seen& seen) {
  return [&seen](const AttentionObservation& observation) {
    seen = {};
    const std::size_t kv_heads = observation.list_counts.size();
    const std::size_t group = observation.lse.size() / kv_heads;
    for (std::size_t h = 0; h < kv_heads; ++h) {
      const auto list =
          observation.lists.subspan(h * observation.list_stride, observation.list_counts[h]);
      seen.lists.emplace_back(list.begin(), list.end());
      for (std::size_t q = h * group; q < (h + 1) * group; ++q) {
        double read = 0;
        for (std::int32_t entry : list) {
          for (int row = entry * observation.granule;
               row < std::min((entry + 1) * observation.granule, observation.length); ++row) {
            read += std::exp(double{observation.logits[q * observation.logit_stride + row]} -
                             observation.lse[q]);
          }
        }
        seen.unread.push_back(static_cast<float>(1 - read));
      }
    }
  };
}

class RoutedRows : public testing::Test {
 protected:
  static constexpr int kRun = 16;
  static constexpr int kFirstRun = 512;
  static constexpr int kSecondRun = 1312;

  RoutedRows() : seed(std::random_device{}()), rng(seed), trace(__FILE__, __LINE__, seed) {}

  // Row 0 is a sink that every query likes, and there are two runs of rows that the queries of each
  // KV head look for; the rest is noise.
  void make(AttentionFixture& fixture, SequenceId id, int tokens) {
    ASSERT_GE(tokens, kSecondRun + kRun);
    const int kv_heads = fixture.cache().config().kv_heads;
    const int group = fixture.q_heads() / kv_heads;
    directions = normals(std::int64_t{kv_heads} * kDim, rng);
    std::vector<float> keys = normals(std::int64_t{tokens} * kv_heads * kDim, rng, 0.5f);
    const std::vector<float> values = normals(std::int64_t{tokens} * kv_heads * kDim, rng);
    queries.assign(static_cast<std::size_t>(fixture.q_heads()) * kDim, 0.0f);
    for (int h = 0; h < kv_heads; ++h) {
      float* direction = &directions[h * kDim];
      float square = 0;
      for (int i = 0; i < kDim; ++i) square += direction[i] * direction[i];
      for (int i = 0; i < kDim; ++i) direction[i] *= std::sqrt(kDim / square);
      const auto point = [&](int token) {
        for (int i = 0; i < kDim; ++i) {
          keys[(std::int64_t{token} * kv_heads + h) * kDim + i] += 1.7f * direction[i];
        }
      };
      point(0);
      for (int row = 0; row < kRun; ++row) {
        point(kFirstRun + row);
        point(kSecondRun + row);
      }
      for (int q = 0; q < group; ++q) {
        for (int i = 0; i < kDim; ++i) {
          queries[(h * group + q) * kDim + i] = direction[i] + 0.3f * rng.normal();
        }
      }
    }
    fixture.append(id, keys, values);
  }

  std::uint64_t seed;
  Rng rng;
  testing::ScopedTrace trace;
  std::vector<float> directions;
  std::vector<float> queries;
};

double difference(std::span<const float> a, std::span<const float> b) {
  double square = 0, norm = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    square += (double{a[i]} - b[i]) * (double{a[i]} - b[i]);
    norm += double{b[i]} * b[i];
  }
  return std::sqrt(square / norm);
}

TEST_F(RoutedRows, FindsTheRowsThatMatterAndReadsFewOthers) {
  for (const int bits : {2, 4}) {
    AttentionFixture fixture(2, 4, 5000, bits);
    const SequenceId id = fixture.cache().create();
    make(fixture, id, 4001);
    ReadStats stats;
    Seen seen;
    const AttentionObserver observer = watch(seen);
    const PolicyOptions policy{.epsilon = 0.02f, .granule = 1, .audit_share = 0};
    const std::vector<float> routed = fixture.decode(id, queries, policy, &stats, &observer);
    const std::vector<float> dense = fixture.decode(id, queries, kDense);
    EXPECT_LT(difference(routed, dense), 0.1);
    for (const auto& list : seen.lists) {
      const auto listed = [&](std::int32_t row) { return std::ranges::binary_search(list, row); };
      for (std::int32_t row : {0, 31, 4000, 4001 - 64}) EXPECT_TRUE(listed(row)) << row;
      int found = 0;
      for (int row = 0; row < kRun; ++row) {
        found += (listed(kFirstRun + row) ? 1 : 0) + (listed(kSecondRun + row) ? 1 : 0);
      }
      EXPECT_GE(found, 2 * kRun - 6);
      EXPECT_LT(list.size(), 400u);
    }
    for (float unread : seen.unread) EXPECT_LT(unread, 0.06f);
    std::int64_t rows = 0;
    for (const auto& list : seen.lists) rows += static_cast<std::int64_t>(list.size());
    EXPECT_EQ(stats.attention_bytes, rows * 2 * kDim * 4);
    EXPECT_GT(stats.router_bytes, 2 * (4001 / kBlockSize) * (2 * kDim + 4));
  }
}

// What the router did not list is never looked at, by the router or by attention.
TEST_F(RoutedRows, UnreadRowsMayHoldAnything) {
  AttentionFixture fixture(2, 4, 5000);
  const SequenceId id = fixture.cache().create();
  make(fixture, id, 4001);
  for (const int granule : {1, 32, 64}) {
    const PolicyOptions policy{.epsilon = 0.02f, .granule = granule, .audit_share = 0};
    Seen seen;
    const AttentionObserver observer = watch(seen);
    const std::vector<float> before = fixture.decode(id, queries, policy, nullptr, &observer);
    const SequenceId copy = fixture.cache().fork(id);
    const KvView view = fixture.view(copy);
    std::vector<std::vector<float>> saved;
    std::vector<float*> poisoned;
    for (int h = 0; h < 2; ++h) {
      for (int token = 0; token < 4001; ++token) {
        if (std::ranges::binary_search(seen.lists[h], token / granule)) continue;
        for (const void* base : {view.keys, view.values}) {
          float* row =
              const_cast<float*>(static_cast<const float*>(base)) + row_offset(view, 0, h, token);
          saved.emplace_back(row, row + kDim);
          poisoned.push_back(row);
          std::fill_n(row, kDim, std::numeric_limits<float>::quiet_NaN());
        }
      }
    }
    EXPECT_GT(poisoned.size(), 2000u) << granule;
    EXPECT_EQ(fixture.decode(copy, queries, policy), before) << granule;
    for (std::size_t i = 0; i < poisoned.size(); ++i) {
      std::ranges::copy(saved[i], poisoned[i]);
    }
    fixture.cache().release(copy);
  }
}

TEST_F(RoutedRows, NotANumberInAKeyReadsEverything) {
  AttentionFixture fixture(1, 4, 5000);
  const SequenceId id = fixture.cache().create();
  make(fixture, id, 2000);
  std::vector<float> keys = normals(64 * kDim, rng);
  keys[40 * kDim + 3] = std::numeric_limits<float>::quiet_NaN();
  fixture.append(id, keys, normals(64 * kDim, rng));
  fixture.append(id, normals(200 * kDim, rng), normals(200 * kDim, rng));
  Seen seen;
  const AttentionObserver observer = watch(seen);
  fixture.decode(id, queries, {.epsilon = 0.05f, .granule = 1, .audit_share = 0}, nullptr,
                 &observer);
  EXPECT_EQ(seen.lists[0].size(), 2264u);
}

TEST_F(RoutedRows, AnotherSequencesNumbersDoNotMatter) {
  AttentionFixture fixture(1, 4, 9000);
  const SequenceId id = fixture.cache().create();
  make(fixture, id, 2000);
  const PolicyOptions policy{.epsilon = 0.05f, .granule = 1, .audit_share = 0};
  const std::vector<float> before = fixture.decode(id, queries, policy);
  const SequenceId other = fixture.cache().create();
  fixture.append(other, std::vector<float>(3000 * kDim, std::numeric_limits<float>::infinity()),
                 std::vector<float>(3000 * kDim, std::numeric_limits<float>::quiet_NaN()));
  EXPECT_EQ(fixture.decode(id, queries, policy), before);
}

TEST_F(RoutedRows, WithoutSketchesRowsAreRefused) {
  AttentionFixture fixture(1, 1, 2000, 0);
  const SequenceId id = fixture.cache().create();
  make(fixture, id, 1500);
  EXPECT_THROW(fixture.decode(id, queries, {.granule = 1}), Error);
  EXPECT_NO_THROW(fixture.decode(id, queries, {.granule = 32}));
}

TEST_F(RoutedRows, AnAuditSeesWhatAnObserverSees) {
  AttentionFixture fixture(2, 4, 5000);
  const SequenceId id = fixture.cache().create();
  make(fixture, id, 4001);
  Audit audit(1, 2, kAuditTarget);
  Seen seen;
  const AttentionObserver observer = watch(seen);
  ReadStats stats;
  const PolicyOptions policy{.epsilon = 0.05f, .granule = 1, .audit_share = 1};
  fixture.decode(id, queries, policy, &stats, &observer, &audit);
  const AuditSummary summary = audit.summary();
  ASSERT_EQ(summary.total.decisions, 8);
  double unread = 0;
  int violations = 0;
  for (float mass : seen.unread) {
    unread += mass / 8;
    violations += mass > 0.05f ? 1 : 0;
  }
  EXPECT_NEAR(summary.total.unread_mass, unread, 1e-4);
  EXPECT_EQ(summary.total.violations, violations);
  EXPECT_GE(stats.audit_bytes, 2 * 4001 * kDim * 4);
}

}  // namespace
}  // namespace sinkrouter::test
