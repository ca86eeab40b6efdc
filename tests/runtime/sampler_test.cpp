#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "sinkrouter/error.h"
#include "sinkrouter/generate.h"

namespace sinkrouter {
namespace {

std::vector<float> random_logits(int size, std::uint64_t seed) {
  std::mt19937_64 engine(seed);
  std::normal_distribution<float> normal(0.0f, 2.0f);
  std::vector<float> logits(static_cast<std::size_t>(size));
  for (float& logit : logits) logit = normal(engine);
  return logits;
}

std::vector<double> frequencies(const SamplingOptions& options, const std::vector<float>& logits,
                                int draws) {
  Sampler sampler(options, static_cast<int>(logits.size()));
  std::vector<double> counts(logits.size());
  for (int i = 0; i < draws; ++i)
    counts[static_cast<std::size_t>(sampler.sample(logits))] += 1.0 / draws;
  return counts;
}

TEST(Sampler, GreedyTakesTheFirstLargest) {
  Sampler sampler({}, 5);
  EXPECT_EQ(sampler.sample(std::vector<float>{0, 3, 1, 3, 2}), 1);
}

TEST(Sampler, SameSeedSameDraws) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE(seed);
  const std::vector<float> logits = random_logits(100, seed);
  Sampler first({.temperature = 1.0f, .seed = seed}, 100);
  Sampler second({.temperature = 1.0f, .seed = seed}, 100);
  Sampler other({.temperature = 1.0f, .seed = seed + 1}, 100);
  bool differs = false;
  for (int i = 0; i < 200; ++i) {
    const int token = first.sample(logits);
    EXPECT_EQ(token, second.sample(logits));
    differs |= token != other.sample(logits);
  }
  EXPECT_TRUE(differs);
}

TEST(Sampler, FrequenciesFollowTheSoftmax) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE(seed);
  const std::vector<float> logits = random_logits(12, seed);
  const float temperature = 1.5f;
  double sum = 0;
  for (float logit : logits) sum += std::exp(logit / temperature);
  const int draws = 200000;
  const auto seen = frequencies({.temperature = temperature, .seed = seed}, logits, draws);
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const double expected = std::exp(logits[i] / temperature) / sum;
    EXPECT_NEAR(seen[i], expected, 6 * std::sqrt(expected / draws) + 1e-4);
  }
}

TEST(Sampler, TopKDrawsOnlyTheLargestK) {
  const std::vector<float> logits = {1.0f, 5.0f, 4.0f, 4.5f, -2.0f};
  const auto seen = frequencies({.temperature = 10.0f, .top_k = 3, .seed = 7}, logits, 5000);
  EXPECT_GT(seen[1], 0);
  EXPECT_GT(seen[2], 0);
  EXPECT_GT(seen[3], 0);
  EXPECT_EQ(seen[0] + seen[4], 0);
}

TEST(Sampler, TopPDrawsTheSmallestSetThatReachesP) {
  const std::vector<float> logits = {std::log(0.5f), std::log(0.3f), std::log(0.15f),
                                     std::log(0.05f)};
  const auto seen = frequencies({.temperature = 1.0f, .top_p = 0.75f, .seed = 9}, logits, 20000);
  EXPECT_NEAR(seen[0], 0.625, 0.03);
  EXPECT_NEAR(seen[1], 0.375, 0.03);
  EXPECT_EQ(seen[2] + seen[3], 0);
}

TEST(Sampler, InfiniteAndNanLogitsNeverCrash) {
  const float inf = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  Sampler sampler({.temperature = 1.0f, .top_k = 2, .top_p = 0.5f, .seed = 1}, 3);
  for (const auto& logits :
       {std::vector<float>{-inf, -inf, -inf}, std::vector<float>{nan, nan, nan},
        std::vector<float>{inf, 0, nan}, std::vector<float>{0, -inf, nan}}) {
    const int token = sampler.sample(logits);
    EXPECT_GE(token, 0);
    EXPECT_LT(token, 3);
  }
}

TEST(Sampler, OptionsOutOfRangeAreNamed) {
  EXPECT_THROW(Sampler({.temperature = -1.0f}, 4), Error);
  EXPECT_THROW(Sampler({.temperature = std::nanf("")}, 4), Error);
  EXPECT_THROW(Sampler({.top_k = -1}, 4), Error);
  EXPECT_THROW(Sampler({.top_p = 0.0f}, 4), Error);
  EXPECT_THROW(Sampler({.top_p = 1.5f}, 4), Error);
}

}  // namespace
}  // namespace sinkrouter
