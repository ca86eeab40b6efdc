#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <random>
#include <set>

#include "base/block_size.h"
#include "router/estimates.h"
#include "router/selection_reference.h"

namespace sinkrouter::test {
namespace {

// `run` hands over estimates; bounds are the same numbers with another meaning.
Selection select(const KeptSet& kept, const GroupEstimates& estimates, float budget, void* scratch,
                 std::int32_t* list) {
  return select_quest(kept, {estimates.log_masses, estimates.stride, estimates.group}, budget,
                      scratch, list);
}

// The rule as written: sort, take from the top.
std::vector<std::int32_t> sorted_rule(const Problem& problem, float budget) {
  const std::vector<std::int32_t> kept = kept_list(problem);
  std::set<std::int32_t> result(kept.begin(), kept.end());
  const double share = std::ceil(double{budget} * problem.kept.granules);
  const auto wanted = std::max<std::ptrdiff_t>(
      0, static_cast<std::ptrdiff_t>(share) - static_cast<std::ptrdiff_t>(kept.size()));
  for (int q = 0; q < problem.group; ++q) {
    std::vector<std::int32_t> order = problem.candidates();
    const float* bounds = &problem.log_masses[std::size_t(q) * problem.kept.granules];
    const auto rank = [&](std::int32_t g) { return std::isnan(bounds[g]) ? INFINITY : bounds[g]; };
    std::ranges::stable_sort(order, std::greater<>(), rank);
    order.resize(std::min(order.size(), static_cast<std::size_t>(wanted)));
    result.insert(order.begin(), order.end());
  }
  return {result.begin(), result.end()};
}

void for_random_problems(int rounds, const std::function<void(Problem&, float)>& check) {
  const std::uint64_t seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  Rng rng(seed);
  for (int round = 0; round < rounds; ++round) {
    constexpr int kGranules[] = {32, 64, 128};
    const int length = 1 + static_cast<int>(rng.below(20000));
    std::vector<std::int32_t> pinned;
    for (std::uint64_t n = rng.below(5); n > 0; --n) {
      pinned.push_back(static_cast<std::int32_t>(
          rng.below((static_cast<std::uint64_t>(length) + kBlockSize - 1) / kBlockSize)));
    }
    Problem problem(length, kGranules[rng.below(3)], 1 + static_cast<int>(rng.below(200)),
                    1 + static_cast<int>(rng.below(8)), pinned);
    fill_randomly(problem, rng);
    constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
    if (rng.below(4) == 0)
      problem.log_mass(
          0, static_cast<int>(rng.below(static_cast<std::uint64_t>(problem.kept.granules)))) = kNan;
    const float budget =
        rng.below(8) == 0 ? 1.0f : 1e-4f + 0.5f * static_cast<float>(rng.uniform());
    SCOPED_TRACE(testing::Message() << "round " << round << " length " << length);
    check(problem, budget);
    if (testing::Test::HasFatalFailure()) return;
  }
}

TEST(SelectQuest, IsTheRuleAsWritten) {
  for_random_problems(300, [](Problem& problem, float budget) {
    const Listed result = run(select, problem, budget);
    ASSERT_EQ(result.list, sorted_rule(problem, budget));
    ASSERT_EQ(result.routed, result.list == kept_list(problem));
  });
}

TEST(SelectQuest, AllOfTheBudgetIsEverything) {
  for_random_problems(50, [](Problem& problem, float) {
    ASSERT_EQ(run(select, problem, 1.0f).list, all_granules(problem));
  });
}

TEST(SelectQuest, MoreBudgetReadsASuperset) {
  for_random_problems(100, [](Problem& problem, float budget) {
    ASSERT_TRUE(std::ranges::includes(run(select, problem, budget).list,
                                      run(select, problem, budget / 2).list));
  });
}

TEST(GranuleBounds, AreTheLargestOfTheirParts) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  std::vector<float> bounds{1, 4, -3, -2, kNan, 9, 5, 5};
  granule_bounds(bounds.data(), 8, 1, 4, 2, bounds.data(), 8);
  EXPECT_EQ(bounds[0], 4);
  EXPECT_EQ(bounds[1], -2);
  EXPECT_TRUE(std::isnan(bounds[2]));
  EXPECT_EQ(bounds[3], 5);
}

}  // namespace
}  // namespace sinkrouter::test
