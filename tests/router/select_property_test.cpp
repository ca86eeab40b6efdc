#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <random>

#include "base/block_size.h"
#include "router/every_target.h"
#include "router/selection_reference.h"

namespace sinkrouter::test {
namespace {

void for_random_problems(int rounds, const std::function<void(Problem&, Rng&)>& check) {
  const std::uint64_t seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  Rng rng(seed);
  for (int round = 0; round < rounds; ++round) {
    constexpr int kGranules[] = {1, 32, 64, 128};
    constexpr int kLengths[] = {31, 32, 33, 63, 64, 65, 128, 4096, 4097, 16384};
    const int granule = kGranules[rng.below(4)];
    const int length = rng.below(2) == 0
                           ? kLengths[rng.below(10)]
                           : 1 + static_cast<int>(rng.below(granule == 1 ? 3000 : 60000));
    std::vector<std::int32_t> pinned;
    for (std::uint64_t n = rng.below(2) * rng.below(5); n > 0; --n) {
      pinned.push_back(static_cast<std::int32_t>(
          rng.below((static_cast<std::uint64_t>(length) + kBlockSize - 1) / kBlockSize)));
    }
    Problem problem(length, granule, 1 + static_cast<int>(rng.below(200)),
                    1 + static_cast<int>(rng.below(8)), pinned);
    fill_randomly(problem, rng);
    SCOPED_TRACE(testing::Message() << "round " << round << " length " << length << " granule "
                                    << granule << " group " << problem.group);
    check(problem, rng);
    if (testing::Test::HasFatalFailure()) return;
  }
}

float random_epsilon(Rng& rng) {
  constexpr float kEpsilons[] = {0.02f, 0.05f, 0.3f};
  return rng.below(2) == 0 ? kEpsilons[rng.below(3)]
                           : static_cast<float>(std::pow(10.0, -6.0 * rng.uniform()) * 0.99);
}

TEST(SelectProperties, ListsAreAscendingInRangeAndHoldTheKeptSet) {
  for_random_problems(300, [](Problem& problem, Rng& rng) {
    const float epsilon = random_epsilon(rng);
    for (const Listed& result :
         {run(select_margin, problem, epsilon), run(select_route, problem, epsilon)}) {
      const auto& list = result.list;
      ASSERT_TRUE(std::ranges::adjacent_find(list, std::greater_equal<>()) == list.end());
      ASSERT_TRUE(list.empty() || (list.front() >= 0 && list.back() < problem.kept.granules));
      const auto kept = kept_list(problem);
      ASSERT_TRUE(std::ranges::includes(list, kept));
      ASSERT_EQ(result.routed, list == kept);
    }
  });
}

TEST(SelectProperties, NoHeadsObjectionIsLost) {
  on_every_target([] {
    for_random_problems(150, [](Problem& problem, Rng& rng) {
      const float epsilon = random_epsilon(rng);
      for (const Listed& result :
           {run(select_margin, problem, epsilon), run(select_route, problem, epsilon)}) {
        for (int q = 0; q < problem.group; ++q) {
          ASSERT_LE(unread_share(problem, q, result.list), double{epsilon} * (1 + 1e-12)) << q;
        }
      }
    });
  });
}

// Rounding may only tighten the bound, by less than a part in ten thousand. Estimates that differ
// by less than the rounding of their masses may swap places.
void check_against_sorting(const Problem& head, float epsilon, bool* is_exact) {
  const auto list = run(select_margin, head, epsilon).list;
  const auto loosest = sorted_list(head, double{epsilon});
  const auto tightest = sorted_list(head, double{epsilon} * (1 - 1e-4));
  ASSERT_LE(loosest.size(), list.size());
  ASSERT_LE(list.size(), tightest.size());
  std::vector<std::int32_t> missing;
  std::ranges::set_difference(loosest, list, std::back_inserter(missing));
  for (std::int32_t g : missing) {
    ASSERT_TRUE(std::ranges::any_of(list, [&](std::int32_t other) {
      return std::fabs(head.log_masses[other] - head.log_masses[g]) < 1e-5f;
    })) << g;
  }
  *is_exact = list == loosest;
}

TEST(SelectProperties, MarginIsTheSortedRule) {
  int exact = 0;
  int heads = 0;
  on_every_target([&] {
    for_random_problems(100, [&](Problem& problem, Rng& rng) {
      const float epsilon = random_epsilon(rng);
      for (int q = 0; q < problem.group; ++q) {
        bool is_exact = false;
        check_against_sorting(Problem(problem, q), epsilon, &is_exact);
        exact += is_exact ? 1 : 0;
        ++heads;
      }
    });
  });
  EXPECT_GT(exact, heads * 9 / 10);
}

TEST(SelectProperties, RouteAgreesWithMargin) {
  for_random_problems(300, [](Problem& problem, Rng& rng) {
    const float epsilon = random_epsilon(rng);
    const Listed margin = run(select_margin, problem, epsilon);
    const Listed route = run(select_route, problem, epsilon);
    ASSERT_EQ(route.routed, margin.routed || problem.candidates().empty());
    ASSERT_EQ(route.list, margin.routed ? kept_list(problem) : all_granules(problem));
  });
}

TEST(SelectProperties, LargerEpsilonReadsASubset) {
  for_random_problems(200, [](Problem& problem, Rng& rng) {
    std::vector<float> epsilons = {0.0f, random_epsilon(rng), random_epsilon(rng),
                                   random_epsilon(rng), random_epsilon(rng)};
    std::ranges::sort(epsilons);
    auto larger = run(select_margin, problem, epsilons[0]).list;
    ASSERT_EQ(larger, all_granules(problem));
    for (std::size_t i = 1; i < epsilons.size(); ++i) {
      auto list = run(select_margin, problem, epsilons[i]).list;
      ASSERT_TRUE(std::ranges::includes(larger, list)) << epsilons[i - 1] << " " << epsilons[i];
      larger = std::move(list);
    }
  });
}

TEST(SelectProperties, TheGroupReadsTheUnionOfItsHeads) {
  for_random_problems(200, [](Problem& problem, Rng& rng) {
    const float epsilon = random_epsilon(rng);
    std::set<std::int32_t> united;
    for (int q = 0; q < problem.group; ++q) {
      const Problem single(problem, q);
      const auto list = run(select_margin, single, epsilon).list;
      united.insert(list.begin(), list.end());
    }
    const auto list = run(select_margin, problem, epsilon).list;
    ASSERT_TRUE(std::ranges::equal(list, united));
  });
}

TEST(SelectProperties, ACommonShiftChangesNothing) {
  for_random_problems(200, [](Problem& problem, Rng& rng) {
    // Multiples of 1/1024, so that the shift is exact.
    const auto coarse = [](float x) { return std::round(x * 1024.0f) / 1024.0f; };
    for (float& e : problem.log_masses) e = coarse(e);
    for (float& lse : problem.kept_lse) lse = coarse(lse);
    const float epsilon = random_epsilon(rng);
    const Listed before = run(select_margin, problem, epsilon);
    for (int q = 0; q < problem.group; ++q) {
      const auto shift = static_cast<float>(static_cast<int>(rng.below(2001)) - 1000);
      for (int g = 0; g < problem.kept.granules; ++g) problem.log_mass(q, g) += shift;
      problem.kept_lse[q] += shift;
    }
    const Listed after = run(select_margin, problem, epsilon);
    ASSERT_EQ(before.list, after.list);
    ASSERT_EQ(before.routed, after.routed);
  });
}

TEST(SelectProperties, TheOrderOfHeadsDoesNotMatter) {
  for_random_problems(100, [](Problem& problem, Rng& rng) {
    const float epsilon = random_epsilon(rng);
    const auto before = run(select_margin, problem, epsilon).list;
    const int granules = problem.kept.granules;
    for (int q = 0; q < problem.group / 2; ++q) {
      const int other = problem.group - 1 - q;
      std::swap_ranges(problem.log_masses.begin() + q * granules,
                       problem.log_masses.begin() + (q + 1) * granules,
                       problem.log_masses.begin() + other * granules);
      std::swap(problem.kept_lse[q], problem.kept_lse[other]);
    }
    ASSERT_EQ(before, run(select_margin, problem, epsilon).list);
  });
}

}  // namespace
}  // namespace sinkrouter::test
