#include "router/estimates.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <memory>
#include <numeric>
#include <random>
#include <vector>

#include "base/rng.h"
#include "router/every_target.h"
#include "router/log_mass.h"
#include "sinkrouter/error.h"

namespace sinkrouter::test {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

double log_sum(const float* values, int count) {
  double largest = -HUGE_VAL;
  for (int i = 0; i < count; ++i) largest = std::max(largest, double{values[i]});
  if (std::isinf(largest)) return largest;
  double sum = 0;
  for (int i = 0; i < count; ++i) sum += std::exp(values[i] - largest);
  return largest + std::log(sum);
}

void check_granules_add_their_parts() {
  const std::uint64_t seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  Rng rng(seed);
  for (int parts : {1, 2, 4, 8, 64, 256, 2048}) {
    for (int granules : {0, 1, 7, 33, 700}) {
      if (parts * granules > 100000) continue;
      constexpr int kGroup = 3;
      const int stride = parts * granules + 3;
      std::vector<float> in(static_cast<std::size_t>(kGroup) * stride);
      for (float& x : in) {
        x = rng.below(20) == 0 ? -kInf : 20.0f * rng.normal();
        if (rng.below(50) == 0) x = -std::numeric_limits<float>::max();
      }
      const int out_stride = granules + 1;
      std::vector<float> out(static_cast<std::size_t>(kGroup) * out_stride, 12345.0f);
      granule_log_masses(in.data(), stride, kGroup, granules, parts, out.data(), out_stride);
      for (int q = 0; q < kGroup; ++q) {
        for (int g = 0; g < granules; ++g) {
          const double want = log_sum(&in[q * stride + g * parts], parts);
          const float got = out[q * out_stride + g];
          if (std::isinf(want)) {
            ASSERT_EQ(got, want);
          } else {
            ASSERT_NEAR(got, want, 1e-5 * std::max(1.0, std::fabs(want))) << parts << " " << g;
          }
        }
        ASSERT_EQ(out[q * out_stride + granules], 12345.0f) << "written past the end";
      }
      std::vector<float> in_place = in;
      granule_log_masses(in_place.data(), stride, kGroup, granules, parts, in_place.data(), stride);
      for (int q = 0; q < kGroup; ++q) {
        for (int g = 0; g < granules; ++g) {
          ASSERT_EQ(in_place[q * stride + g], out[q * out_stride + g]);
        }
      }
    }
  }
}

TEST(Estimates, GranulesAddTheirParts) { on_every_target(check_granules_add_their_parts); }

void check_degenerate_numbers_propagate() {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float in[] = {nan, 1, 1, nan, kInf, 1, kInf, kInf, kInf, -kInf, -kInf, -kInf, nan, kInf};
  float out[7];
  granule_log_masses(in, 14, 1, 7, 2, out, 7);
  EXPECT_TRUE(std::isnan(out[0]));
  EXPECT_TRUE(std::isnan(out[1]));
  EXPECT_EQ(out[2], kInf);
  EXPECT_EQ(out[3], kInf);
  EXPECT_EQ(out[4], kInf);
  EXPECT_EQ(out[5], -kInf);
  EXPECT_TRUE(std::isnan(out[6]));
  EXPECT_THROW(granule_log_masses(in, 14, 1, 2, 3, out, 7), Error);
}

TEST(Estimates, DegenerateNumbersPropagate) { on_every_target(check_degenerate_numbers_propagate); }

void check_masses_are_within_their_stated_error() {
  const std::uint64_t seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  Rng rng(seed);
  for (int count : {0, 1, 15, 16, 17, 63, 64, 65, 1000, 5000}) {
    std::vector<float> log_masses(count);
    double want_sum = 0;
    const float reference = 1000.0f * rng.normal();
    for (float& x : log_masses) {
      x = reference - static_cast<float>(100 * rng.uniform() * rng.uniform());
    }
    std::vector<float> masses(static_cast<std::size_t>(count) + kMassPadding + 16, -1.0f);
    float* aligned = masses.data();
    while (reinterpret_cast<std::uintptr_t>(aligned) % 64 != 0) ++aligned;
    const double sum = fill_masses(log_masses.data(), count, reference, aligned);
    for (int i = 0; i < count; ++i) {
      const double want = std::exp(std::max(double{log_masses[i]} - reference, -87.0));
      want_sum += want;
      ASSERT_NEAR(aligned[i], want, kMassError * want);
      ASSERT_GT(aligned[i], 0.0f);
    }
    ASSERT_NEAR(sum, want_sum, kMassError * want_sum);
    const int padded = (count + kMassPadding - 1) / kMassPadding * kMassPadding;
    for (int i = count; i < padded; ++i) ASSERT_EQ(aligned[i], 0.0f);
  }
}

TEST(LogMass, MassesAreWithinTheirStatedError) {
  on_every_target(check_masses_are_within_their_stated_error);
}

void check_the_maximum_sees_every_lane_and_nan() {
  const std::uint64_t seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  Rng rng(seed);
  EXPECT_EQ(max_or_nan(nullptr, 0), -kInf);
  for (int count = 1; count < 80; ++count) {
    for (int at = 0; at < count; ++at) {
      std::vector<float> values(count);
      for (float& x : values) x = -1.0f - static_cast<float>(rng.uniform());
      values[at] = -0.5f;
      ASSERT_EQ(max_or_nan(values.data(), count), -0.5f);
      values[at] = std::numeric_limits<float>::quiet_NaN();
      ASSERT_TRUE(std::isnan(max_or_nan(values.data(), count)));
    }
  }
}

TEST(LogMass, TheMaximumSeesEveryLaneAndNaN) {
  on_every_target(check_the_maximum_sees_every_lane_and_nan);
}

void check_scans() {
  const std::uint64_t seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  Rng rng(seed);
  for (int count : {0, 1, 5, 63, 64, 65, 777}) {
    const int padded = (count + kMassPadding - 1) / kMassPadding * kMassPadding;
    const auto bytes = static_cast<std::size_t>(padded + 16) * sizeof(float);
    std::vector<float> storage(2 * bytes / sizeof(float));
    void* memory = storage.data();
    std::size_t space = storage.size() * sizeof(float);
    std::align(64, bytes, memory, space);
    float* masses = static_cast<float*>(memory);
    for (int i = 0; i < count; ++i) masses[i] = static_cast<float>(1 + rng.below(100)) / 128.0f;
    std::fill(masses + count, masses + padded, 0.0f);

    const std::array<float, kPivots> pivots = {0.1f, 0.4f, 0.75f};
    const std::array<double, kPivots> below = sum_below(masses, count, pivots);
    for (int p = 0; p < kPivots; ++p) {
      double mass = 0;
      for (int i = 0; i < count; ++i) {
        mass += masses[i] < pivots[p] ? masses[i] : 0.0f;
      }
      ASSERT_NEAR(below[p], mass, kMassError * mass);
    }

    for (const int run : {16, 32, 64}) {
      const int runs = (count + run - 1) / run;
      std::vector<float> sums(runs + 1, 1.0f);
      add_run_sums(masses, count, run, 0.5f, sums.data());
      for (int r = 0; r < runs; ++r) {
        const double mass = std::accumulate(masses + r * run, masses + (r + 1) * run, 0.0);
        ASSERT_NEAR(sums[r], 1 + 0.5 * mass, 1e-5);
      }
      ASSERT_EQ(sums[runs], 1.0f);
    }

    std::vector<float> large(padded + kMassPadding, -1.0f);
    const Compacted compacted = compact_masses(masses, count, 0.4f, large.data());
    std::vector<float> between;
    std::vector<std::uint64_t> words(padded / 64, 2);
    mark_at_least(masses, count, 0.75f, words.data());
    int next_large = 0;
    for (int i = 0; i < count; ++i) {
      const bool is_large = masses[i] >= 0.4f;
      if (is_large && masses[i] < 0.75f) between.push_back(masses[i]);
      ASSERT_TRUE(!is_large || large[next_large++] == masses[i]) << i;
      const bool was_set = i % 64 == 1;
      ASSERT_EQ((words[i / 64] >> (i % 64) & 1) != 0, was_set || masses[i] >= 0.75f) << i;
    }
    ASSERT_EQ(compacted.count, next_large);
    ASSERT_NEAR(compacted.mass_below, below[1], kMassError * below[1]);

    const int kept = keep_between(masses, count, 0.4f, 0.75f);
    ASSERT_EQ(std::vector<float>(masses, masses + kept), between);
  }
}

TEST(LogMass, ScansMatchTheirDefinitions) { on_every_target(check_scans); }

}  // namespace
}  // namespace sinkrouter::test
