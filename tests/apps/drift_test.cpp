#include "sinkrouter/drift.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "base/rng.h"
#include "eval/drift/segments.h"
#include "eval/row_masses.h"

namespace sinkrouter {
namespace {

std::vector<DriftStep> steps_with(const std::vector<double>& rates) {
  std::vector<DriftStep> steps;
  for (double rate : rates) steps.push_back({.violation_rate = rate});
  return steps;
}

TEST(DriftSegments, RecoveryIsTheFirstWindowOnTarget) {
  std::vector<double> rates(300, 0.0);
  for (int i = 100; i < 130; ++i) rates[i] = 1.0;  // 30 bad steps at the segment's start
  DriftSegment segment{.first = 100, .count = 200};
  judge(steps_with(rates), segment);
  EXPECT_NEAR(segment.violation_rate, 30.0 / 200, 1e-12);
  EXPECT_EQ(segment.settled_violation_rate, 0);
  // A window may hold one bad step of 16 (0.0625), not two (0.125).
  EXPECT_EQ(segment.recovered_after, 29);
}

TEST(DriftSegments, WhatNeverRecoversSaysSo) {
  DriftSegment segment{.first = 0, .count = 100};
  judge(steps_with(std::vector<double>(100, 0.11)), segment);
  EXPECT_EQ(segment.recovered_after, -1);
  EXPECT_NEAR(segment.settled_violation_rate, 0.11, 1e-12);
  DriftSegment none{.first = 100, .count = 0};
  judge(steps_with(std::vector<double>(100, 0.0)), none);
  EXPECT_EQ(none.recovered_after, -1);
}

TEST(RowMasses, UnreadMassIsThatOfRowsNotListed) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE(seed);
  Rng rng(seed);
  constexpr int kLength = 77, kStride = 80, kGranule = 8;
  std::vector<float> logits(2 * kStride);
  for (float& logit : logits) logit = static_cast<float>(4 * rng.normal());
  std::vector<float> lse(2);
  std::vector<double> masses(kLength);
  for (int head = 0; head < 2; ++head) {
    double total = 0;
    for (int row = 0; row < kLength; ++row) total += std::exp(logits[head * kStride + row]);
    lse[head] = static_cast<float>(std::log(total));
  }
  const std::vector<std::int32_t> lists{0, 3, 9, -1, -1};
  const std::vector<std::int32_t> counts{3};
  AttentionObservation seen;
  seen.length = kLength;
  seen.logits = logits;
  seen.logit_stride = kStride;
  seen.lse = lse;
  seen.granule = kGranule;
  seen.lists = lists;
  seen.list_counts = counts;
  seen.list_stride = 5;
  EXPECT_EQ(rows_on_list(seen, 0), 8 + 8 + 5);
  RowMasses rows(kLength);
  for (int head = 0; head < 2; ++head) {
    double unread = 0;
    for (int row = 0; row < kLength; ++row) {
      const int granule = row / kGranule;
      const double mass = std::exp(double{logits[head * kStride + row]} - lse[head]);
      if (granule != 0 && granule != 3 && granule != 9) unread += mass;
    }
    rows.fill(seen, head);
    EXPECT_NEAR(rows.unread(seen, 0), unread, 1e-5);
  }
}

}  // namespace
}  // namespace sinkrouter
