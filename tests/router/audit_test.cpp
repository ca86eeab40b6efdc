#include "router/audit.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace sinkrouter::test {
namespace {

constexpr float kEpsilon = 0.05f;
constexpr float kTarget = 0.1f;

// Estimates that are off by a factor: true unread mass = bound * error * exp(noise).
struct World {
  double error = 1;
  double noise = 1;
};

// Share of violations over `audits` audits.
double play(Audit& audit, const World& world, int audits, Rng& rng) {
  int violations = 0;
  for (int i = 0; i < audits; ++i) {
    const int head = static_cast<int>(rng.below(4));
    const double bound = kEpsilon * audit.tightening(head / 2, head % 2);
    std::vector<float> masses(4);
    for (float& mass : masses) {
      mass = static_cast<float>(
          std::min(1.0, bound * world.error * std::exp(world.noise * rng.normal())));
      violations += mass > kEpsilon ? 1 : 0;
    }
    audit.record(head / 2, head % 2, kEpsilon, masses, {});
  }
  return violations / (4.0 * audits);
}

TEST(Audit, LeavesTheBoundAloneWhileEstimatesHold) {
  Rng rng(std::random_device{}());
  Audit audit(2, 2, kTarget);
  EXPECT_EQ(play(audit, {.error = 0.2, .noise = 0.1}, 500, rng), 0.0);
  EXPECT_FLOAT_EQ(audit.tightening(1, 1), 1.0f);
  EXPECT_EQ(audit.summary().total.violations, 0);
  EXPECT_EQ(audit.summary().total.decisions, 2000);
}

TEST(Audit, HoldsTheTargetWhenEstimatesAreWrong) {
  Rng rng(std::random_device{}());
  for (const double error : {1.0, 3.0, 10.0}) {
    Audit audit(2, 2, kTarget);
    play(audit, {.error = error}, 200, rng);
    const double rate = play(audit, {.error = error}, 4000, rng);
    EXPECT_LT(rate, 1.15 * kTarget) << error;
    EXPECT_GT(rate, 0.7 * kTarget) << error;
    EXPECT_LT(audit.tightening(0, 0), 0.8f) << error;
  }
}

TEST(Audit, RecoversFromAnAbruptChangeWithinAFewAudits) {
  Rng rng(std::random_device{}());
  Audit audit(2, 2, kTarget);
  play(audit, {.error = 0.3, .noise = 0.3}, 300, rng);
  play(audit, {.error = 5.0, .noise = 0.3}, 16, rng);
  EXPECT_LT(play(audit, {.error = 5.0, .noise = 0.3}, 200, rng), 1.5 * kTarget);
  // And loosens again.
  play(audit, {.error = 0.3, .noise = 0.3}, 200, rng);
  EXPECT_GT(audit.tightening(0, 0), 0.8f);
}

TEST(Audit, OneBadHeadTightensMostlyItself) {
  Audit audit(1, 2, kTarget);
  const std::vector<float> fine(4, 0.0f);
  const std::vector<float> bad(4, 0.5f);
  for (int i = 0; i < 400; ++i) {
    for (int j = 0; j < 20; ++j) audit.record(0, 0, kEpsilon, fine, {});
    audit.record(0, 1, kEpsilon, bad, {});
  }
  EXPECT_GT(audit.tightening(0, 0), 5 * audit.tightening(0, 1));
  EXPECT_GT(audit.tightening(0, 0), 0.5f);
}

TEST(Audit, ReportsWhatItSaw) {
  Audit audit(2, 3, kTarget);
  audit.record(1, 2, kEpsilon, std::vector<float>{0.01f, 0.07f}, std::vector<float>{0.1f, 0.3f});
  audit.record(1, 2, kEpsilon, std::vector<float>{std::numeric_limits<float>::quiet_NaN(), 0.0f},
               {});
  const AuditSummary summary = audit.summary();
  ASSERT_EQ(summary.heads.size(), 6u);
  const AuditedHead& head = summary.heads[5];
  EXPECT_EQ(head.layer, 1);
  EXPECT_EQ(head.kv_head, 2);
  EXPECT_EQ(head.decisions, 4);
  EXPECT_EQ(head.violations, 2);
  EXPECT_NEAR(head.unread_mass, (0.01 + 0.07 + 1) / 4, 1e-6);
  EXPECT_EQ(head.largest_unread_mass, 1.0);
  EXPECT_EQ(head.outputs, 2);
  EXPECT_NEAR(head.output_error, 0.2, 1e-6);
  EXPECT_EQ(summary.heads[0].decisions, 0);
  EXPECT_EQ(summary.total.decisions, 4);
  const float before = audit.tightening(1, 2);
  audit.reset();
  EXPECT_EQ(audit.summary().total.decisions, 0);
  EXPECT_EQ(audit.tightening(1, 2), before);
}

TEST(Audit, DrawsTheShareItIsAskedFor) {
  Audit audit(1, 1, kTarget);
  int drawn = 0;
  for (int i = 0; i < 64000; ++i) drawn += audit.draws(1.0f / 64) ? 1 : 0;
  EXPECT_NEAR(drawn, 1000, 160);
  for (int i = 0; i < 1000; ++i) {
    ASSERT_FALSE(audit.draws(0.0f));
    ASSERT_TRUE(audit.draws(1.0f));
  }
}

}  // namespace
}  // namespace sinkrouter::test
