#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "backend/attention_fixture.h"
#include "base/block_size.h"

// Keys made to mislead estimates. Whatever they are, the output is as far from dense attention as
// the unread mass that the audit reports allows, and the audit brings violations down to its
// target.
namespace sinkrouter::test {
namespace {

constexpr int kDim = AttentionFixture::kDim;
constexpr int kTokens = 1500;
constexpr int kGroup = 4;
constexpr float kEpsilon = 0.02f;

enum class Attack { kOutlierInEachBlock, kAllEqual, kAlternatingSigns };

struct Case {
  const char* name;
  Attack attack;
  int granule;
};

class AdversarialKeys : public testing::TestWithParam<Case> {
 protected:
  AdversarialKeys() : seed(std::random_device{}()), rng(seed), trace(__FILE__, __LINE__, seed) {}

  std::vector<float> keys() {
    std::vector<float> rows = normals(std::int64_t{kTokens} * kDim, rng, 0.3f);
    const std::vector<float> direction = normals(kDim, rng);
    for (int row = 0; row < kTokens; ++row) {
      float* key = rows.data() + std::int64_t{row} * kDim;
      switch (GetParam().attack) {
        case Attack::kOutlierInEachBlock:
          if (row % kBlockSize == 7) {
            for (int i = 0; i < kDim; ++i) key[i] = 4.0f * rng.normal();
          }
          break;
        case Attack::kAllEqual:
          std::copy(direction.begin(), direction.end(), key);
          break;
        case Attack::kAlternatingSigns:
          for (int i = 0; i < kDim; ++i) key[i] = (row % 2 == 0 ? 2.0f : -2.0f) * direction[i];
          break;
      }
    }
    return rows;
  }

  std::uint64_t seed;
  Rng rng;
  testing::ScopedTrace trace;
};

double norm(const float* vector) {
  double sum = 0;
  for (int i = 0; i < kDim; ++i) sum += double{vector[i]} * vector[i];
  return std::sqrt(sum);
}

TEST_P(AdversarialKeys, ErrorsAreWithinWhatTheAuditReports) {
  constexpr int kSteps = 300;
  constexpr int kSettled = 100;
  AttentionFixture fixture(1, kGroup, kTokens);
  const SequenceId id = fixture.cache().create();
  const std::vector<float> values = normals(std::int64_t{kTokens} * kDim, rng);
  fixture.append(id, keys(), values);
  double largest_value = 0;
  for (int row = 0; row < kTokens; ++row) {
    largest_value = std::max(largest_value, norm(values.data() + std::int64_t{row} * kDim));
  }
  PolicyOptions policy{.epsilon = kEpsilon, .granule = GetParam().granule, .audit_share = 1};
  Audit audit(1, 1, kAuditTarget);
  std::int64_t decisions = 0, violations = 0;
  for (int step = 0; step < kSteps; ++step) {
    const std::vector<float> queries = normals(kGroup * kDim, rng, 3.0f);
    audit.reset();
    const std::vector<float> routed = fixture.decode(id, queries, policy, nullptr, nullptr, &audit);
    const std::vector<float> dense = fixture.decode(id, queries, {.kind = PolicyKind::kDense});
    const AuditedHead seen = audit.summary().total;
    ASSERT_EQ(seen.decisions, kGroup);
    for (int head = 0; head < kGroup; ++head) {
      std::vector<float> error(kDim);
      for (int i = 0; i < kDim; ++i) error[i] = routed[head * kDim + i] - dense[head * kDim + i];
      const double allowed =
          seen.largest_unread_mass * (largest_value + norm(routed.data() + head * kDim));
      ASSERT_LE(norm(error.data()), allowed + 1e-4) << "step " << step << " head " << head;
    }
    if (step >= kSteps - kSettled) {
      decisions += seen.decisions;
      violations += seen.violations;
    }
  }
  EXPECT_LE(static_cast<double>(violations), 2.0 * kAuditTarget * static_cast<double>(decisions));
}

INSTANTIATE_TEST_SUITE_P(Attacks, AdversarialKeys,
                         testing::Values(Case{"OutlierRows", Attack::kOutlierInEachBlock, 1},
                                         Case{"OutlierBlocks", Attack::kOutlierInEachBlock, 32},
                                         Case{"EqualRows", Attack::kAllEqual, 1},
                                         Case{"EqualBlocks", Attack::kAllEqual, 32},
                                         Case{"SignsRows", Attack::kAlternatingSigns, 1},
                                         Case{"SignsBlocks", Attack::kAlternatingSigns, 32}),
                         [](const auto& tested) { return tested.param.name; });

}  // namespace
}  // namespace sinkrouter::test
