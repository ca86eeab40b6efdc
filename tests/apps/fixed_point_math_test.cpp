#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <set>
#include <vector>

#include "base/rng.h"
#include "eval/fixed_point/attention.h"
#include "eval/fixed_point/noise.h"
#include "eval/fixed_point/output_map.h"
#include "eval/fixed_point/partial_read.h"
#include "eval/fixed_point/plot.h"
#include "eval/fixed_point/reservoir.h"
#include "eval/fixed_point/spread.h"

namespace sinkrouter {
namespace {

class FixedPointMath : public ::testing::Test {
 protected:
  FixedPointMath()
      : seed_(std::random_device{}()), rng_(seed_), trace_(__FILE__, __LINE__, seed_) {}

  std::vector<float> normals(std::size_t count) {
    std::vector<float> values(count);
    for (float& x : values) x = rng_.normal();
    return values;
  }

  std::uint64_t seed_;
  Rng rng_;
  ::testing::ScopedTrace trace_;
};

TEST(Spreads, AreNearestRanks) {
  std::vector<double> values;
  for (int i = 100; i >= 1; --i) values.push_back(i);
  const Spread spread = spread_of(values);
  EXPECT_EQ(spread.median, 50);
  EXPECT_EQ(spread.p95, 95);
  EXPECT_EQ(spread_of({}).p95, 0);
  EXPECT_EQ(spread_of({7}).median, 7);
}

TEST(LogHistograms, CountInSixthsOfDecades) {
  LogHistogram histogram;
  const auto count = [&](int x, int y) { return histogram.counts[y * LogHistogram::kBins + x]; };
  EXPECT_NEAR(LogHistogram::edge(36), 0.01, 1e-12);
  histogram.add(0.011, 0.0012);
  EXPECT_EQ(count(36, 30), 1);
  histogram.add(0.015, 0.0014);
  EXPECT_EQ(count(37, 30), 1);
  histogram.add(1e5, 0);
  EXPECT_EQ(count(LogHistogram::kBins - 1, 0), 1);
}

TEST(Decades, HoldTheRangeAndFewMarks) {
  const PlotScale narrow = decades(0.02, 0.5);
  EXPECT_DOUBLE_EQ(narrow.low, 0.01);
  EXPECT_DOUBLE_EQ(narrow.high, 1);
  EXPECT_EQ(narrow.marks.size(), 3u);
  EXPECT_DOUBLE_EQ(narrow.place(0.1), 0.5);
  EXPECT_EQ(decades(1e-9, 1).marks.size(), 5u);
  EXPECT_LT(decades(1, 1).low, decades(1, 1).high);
}

TEST_F(FixedPointMath, AnOutputMapsNormIsThatOfTheProduct) {
  constexpr int kDim = 12;
  constexpr int kOutputs = 40;
  const std::vector<float> columns = normals(kOutputs * kDim);
  const std::vector<float> value = normals(kDim);
  double square = 0;
  for (int row = 0; row < kOutputs; ++row) {
    double sum = 0;
    for (int i = 0; i < kDim; ++i) sum += double{columns[row * kDim + i]} * value[i];
    square += sum * sum;
  }
  const OutputMap map(columns, kDim);
  EXPECT_NEAR(map.norm(value), std::sqrt(square), 1e-9);
  EXPECT_NEAR(map.norm(std::vector<double>(value.begin(), value.end())), std::sqrt(square), 1e-9);
  EXPECT_EQ(map.norm(std::vector<float>(kDim)), 0);
}

// Powers of W^T W take any vector to the direction that W does most to.
TEST_F(FixedPointMath, NoVectorGrowsMoreThanAnOutputMapsLargestGain) {
  for (const int dim : {1, 12, 64, 128}) {
    const int outputs = dim == 12 ? 5 : 2 * dim;  // rank below the head's width as well
    const std::vector<float> columns = normals(static_cast<std::size_t>(outputs) * dim);
    const OutputMap map(columns, dim);
    std::vector<double> value(static_cast<std::size_t>(dim), 1.0);
    double gain = 0;
    for (int step = 0; step < 200; ++step) {
      std::vector<double> next(value.size());
      for (int row = 0; row < outputs; ++row) {
        double sum = 0;
        for (int i = 0; i < dim; ++i) sum += columns[row * dim + i] * value[i];
        for (int i = 0; i < dim; ++i) next[i] += columns[row * dim + i] * sum;
      }
      const double length = norm(next);
      for (double& x : next) x /= length;
      value = next;
      gain = map.norm(value);
      ASSERT_LE(gain, map.largest_gain() * (1 + 1e-12)) << dim;
    }
    EXPECT_LE(map.largest_gain(), 1.02 * gain) << dim;
  }
  EXPECT_EQ(OutputMap(std::vector<float>(24), 12).largest_gain(), 0);
}

TEST_F(FixedPointMath, ReservoirsKeepAFairShare) {
  constexpr int kItems = 4000;
  constexpr std::size_t kMost = 400;
  Reservoir<int> few(kMost);
  few.add(7, rng_);
  EXPECT_EQ(few.items().size(), 1u);
  Reservoir<int> many(kMost);
  for (int i = 0; i < kItems; ++i) many.add(i, rng_);
  EXPECT_EQ(many.seen(), std::uint64_t{kItems});
  ASSERT_EQ(many.items().size(), kMost);
  const std::set<int> different(many.items().begin(), many.items().end());
  EXPECT_EQ(different.size(), kMost);
  const auto early =
      std::ranges::count_if(many.items(), [](int item) { return item < kItems / 2; });
  EXPECT_NEAR(static_cast<double>(early), kMost / 2.0, 6 * std::sqrt(kMost / 4.0));
}

TEST_F(FixedPointMath, DotProductsAndNorms) {
  constexpr std::size_t kDim = 19;
  const std::vector<float> keys = normals(3 * kDim);
  const std::vector<float> drawn = normals(kDim);
  const std::vector<double> direction(drawn.begin(), drawn.end());
  std::vector<double> products(3);
  dot_products(keys, direction, products);
  for (std::size_t row = 0; row < 3; ++row) {
    double expected = 0;
    for (std::size_t i = 0; i < kDim; ++i) expected += keys[row * kDim + i] * direction[i];
    EXPECT_NEAR(products[row], expected, 1e-12);
  }
  EXPECT_DOUBLE_EQ(norm(std::vector<double>{3, 4}), 5);
  EXPECT_DOUBLE_EQ(norm(std::vector<float>{3, 4}), 5);
  EXPECT_DOUBLE_EQ(distance(std::vector<double>{1, 1}, std::vector<double>{4, 5}), 5);
}

// Three rows: the sink, and two of which one has the largest value.
TEST(PartialReads, KnownAnswers) {
  const std::vector<double> masses{0.5, 0.25, 0.25};
  const std::vector<float> values{0, 0, 2, 0, 0, 4};
  const std::vector<double> norms{0, 2, 4};
  const std::vector<std::uint8_t> sets{0b111, 0b110, 0b100};
  PartialRead read(2);
  for (int again = 0; again < 2; ++again) read.attend(masses, values, norms, sets);
  EXPECT_DOUBLE_EQ(read.output()[0], 0.5);
  EXPECT_DOUBLE_EQ(read.output()[1], 1);

  const ReadError sink = read.error_of(0);
  EXPECT_DOUBLE_EQ(sink.unread_mass, 0.5);
  EXPECT_DOUBLE_EQ(sink.error, std::sqrt(1.25));
  EXPECT_DOUBLE_EQ(sink.bound, 0.5 * 4);

  const ReadError two = read.error_of(1);
  EXPECT_DOUBLE_EQ(read.output_of(1)[0], 2.0 / 3);
  EXPECT_DOUBLE_EQ(two.unread_mass, 0.25);
  EXPECT_DOUBLE_EQ(two.error, std::hypot(0.5 - 2.0 / 3, 1.0));
  EXPECT_DOUBLE_EQ(two.bound, 0.25 * (4 + 2.0 / 3));

  EXPECT_EQ(read.unread_mass(2), 0);
  EXPECT_NEAR(read.error_of(2).error, 0, 1e-15);
}

// The unread value opposite to what is read: nothing is smaller than the bound.
TEST(PartialReads, TheBoundIsReached) {
  PartialRead read(1);
  read.attend(std::vector<double>{0.75, 0.25}, std::vector<float>{1, -3}, std::vector<double>{1, 3},
              std::vector<std::uint8_t>{1, 0});
  EXPECT_DOUBLE_EQ(read.error_of(0).error, read.error_of(0).bound);
}

TEST_F(FixedPointMath, TheBoundHoldsForAnyInput) {
  constexpr std::size_t kRows = 50;
  constexpr int kDim = 16;
  for (int trial = 0; trial < 50; ++trial) {
    std::vector<double> logits(kRows);
    for (double& x : logits) x = 3 * rng_.normal();
    std::vector<double> masses(kRows);
    softmax(logits, masses);
    const std::vector<float> values = normals(kRows * kDim);
    std::vector<double> norms;
    std::vector<std::uint8_t> sets;
    for (std::size_t row = 0; row < kRows; ++row) {
      norms.push_back(norm(std::span(values).subspan(row * kDim, kDim)));
      sets.push_back(static_cast<std::uint8_t>(rng_.below(8)));
    }
    sets[0] = 7;
    PartialRead read(kDim);
    read.attend(masses, values, norms, sets);
    for (int set = 0; set < 3; ++set) {
      const ReadError error = read.error_of(set);
      EXPECT_LE(error.error, error.bound + 1e-12);
      EXPECT_GT(error.error, 0);
    }
  }
}

// Two rows whose values are 0 and 1: the output is the second one's mass.
TEST(Noise, KnownAnswers) {
  const std::vector<double> logits{4, 1};
  const std::vector<float> values{0, 1};
  NoisyAttention noisy;
  noisy.attend(logits, values, 1);
  const auto sink_mass = [](double gap) { return 1 / (1 + std::exp(-gap)); };
  for (double size : {0.0, 0.1, 0.5}) {
    const Movement along = noisy.moved(logits, size);
    EXPECT_NEAR(along.sink_mass_before, sink_mass(3), 1e-12);
    EXPECT_NEAR(along.sink_mass, sink_mass(3 * (1 + size)), 1e-12);
    EXPECT_NEAR(along.output, sink_mass(3 * (1 + size)) - sink_mass(3), 1e-12);
    const Movement against = noisy.moved(std::vector<double>{-4, -1}, size);
    EXPECT_NEAR(against.sink_mass, sink_mass(3 * (1 - size)), 1e-12);
    EXPECT_NEAR(against.output, sink_mass(3) - sink_mass(3 * (1 - size)), 1e-12);
  }
  EXPECT_EQ(noisy.moved(logits, 0).output, 0);
  EXPECT_EQ(noisy.moved(logits, 0).sink_mass_change(), 0);
  // What is added to every logit moves nothing.
  EXPECT_NEAR(noisy.moved(std::vector<double>{5, 5}, 1).output, 0, 1e-12);
}

}  // namespace
}  // namespace sinkrouter
