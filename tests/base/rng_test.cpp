#include "base/rng.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <random>

namespace sinkrouter {
namespace {

// The first outputs of splitmix64 for seed 1234567, as published with the
// algorithm.
TEST(Rng, IsSplitmix64) {
  Rng rng(1234567);
  for (std::uint64_t expected :
       {6457827717110365317ull, 3203168211198807973ull, 9817491932198370423ull,
        4593380528125082431ull, 16408922859458223821ull}) {
    EXPECT_EQ(rng.next(), expected);
  }
}

TEST(Rng, SameSeedSameStreamOtherSeedOtherStream) {
  const std::uint64_t seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  Rng first(seed);
  Rng second(seed);
  Rng other(seed + 1);
  int equal_to_other = 0;
  for (int i = 0; i < 1000; ++i) {
    const std::uint64_t value = first.next();
    ASSERT_EQ(value, second.next());
    equal_to_other += value == other.next() ? 1 : 0;
  }
  EXPECT_EQ(equal_to_other, 0);
}

TEST(Rng, UniformStaysBelowOneAndHasItsMoments) {
  const std::uint64_t seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  Rng rng(seed);
  constexpr int kDraws = 200000;
  double sum = 0;
  double squares = 0;
  for (int i = 0; i < kDraws; ++i) {
    const double x = rng.uniform();
    ASSERT_GE(x, 0.0);
    ASSERT_LT(x, 1.0);
    sum += x;
    squares += x * x;
  }
  // Eight standard deviations of the two means.
  EXPECT_NEAR(sum / kDraws, 0.5, 8 * 0.2887 / std::sqrt(kDraws));
  EXPECT_NEAR(squares / kDraws, 1.0 / 3, 8 * 0.2981 / std::sqrt(kDraws));
}

TEST(Rng, BelowStaysInBoundsAndIsFair) {
  const std::uint64_t seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  Rng rng(seed);
  for (std::uint64_t bound :
       std::initializer_list<std::uint64_t>{1, 2, 3, 1000, 1ull << 63, ~0ull}) {
    for (int i = 0; i < 1000; ++i) ASSERT_LT(rng.below(bound), bound);
  }
  constexpr int kBound = 7;
  constexpr int kDraws = 70000;
  std::array<int, kBound> counts{};
  for (int i = 0; i < kDraws; ++i) ++counts[rng.below(kBound)];
  for (int count : counts) EXPECT_NEAR(count, kDraws / kBound, 8 * std::sqrt(kDraws / kBound));
}

TEST(Rng, NormalIsFiniteAndHasItsMoments) {
  const std::uint64_t seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  Rng rng(seed);
  constexpr int kDraws = 200000;
  double sum = 0;
  double squares = 0;
  double fourths = 0;
  for (int i = 0; i < kDraws; ++i) {
    const double x = rng.normal();
    ASSERT_TRUE(std::isfinite(x));
    sum += x;
    squares += x * x;
    fourths += x * x * x * x;
  }
  EXPECT_NEAR(sum / kDraws, 0.0, 8 / std::sqrt(kDraws));
  EXPECT_NEAR(squares / kDraws, 1.0, 8 * std::sqrt(2.0 / kDraws));
  EXPECT_NEAR(fourths / kDraws, 3.0, 8 * std::sqrt(96.0 / kDraws));
}

}  // namespace
}  // namespace sinkrouter
