#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "router/selection_reference.h"

namespace sinkrouter::test {
namespace {

using List = std::vector<std::int32_t>;
constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

// 20 granules of 32: 0 is the sink, 18 and 19 are the window.
struct Small : Problem {
  explicit Small(int q_heads = 1, List pins = {}) : Problem(640, 32, 64, q_heads, pins) {
    for (float& e : log_masses) e = -30.0f;
  }
};

TEST(SelectMargin, ReadsNothingMoreWhenLittleMassIsLeft) {
  Small problem;
  const Listed result = run(select_margin, problem, 0.05f);
  EXPECT_EQ(result.list, (List{0, 18, 19}));
  EXPECT_TRUE(result.routed);
}

TEST(SelectMargin, TakesFromTheTop) {
  Small problem;
  problem.log_mass(0, 7) = 0.0f;
  problem.log_mass(0, 4) = -1.0f;
  problem.log_mass(0, 12) = -5.0f;
  const Listed result = run(select_margin, problem, 0.05f);
  EXPECT_EQ(result.list, (List{0, 4, 7, 18, 19}));
  EXPECT_FALSE(result.routed);
}

TEST(SelectMargin, TheGroupReadsTheUnion) {
  Small problem(3);
  problem.log_mass(0, 7) = 3.0f;
  problem.log_mass(2, 3) = 3.0f;
  EXPECT_EQ(run(select_margin, problem, 0.05f).list, (List{0, 3, 7, 18, 19}));
}

TEST(SelectMargin, EqualEstimatesGoToTheLowerIndex) {
  for (const int granules : {20, 400}) {
    Problem problem(granules * 32, 32, 64, 1);
    for (float& e : problem.log_masses) e = -2.0f;
    problem.kept_lse[0] = -kInf;
    const int candidates = granules - 3;
    const int read = candidates - static_cast<int>(std::floor(0.25 * candidates - 0.01));
    List want{0};
    for (int g = 1; g <= read; ++g) want.push_back(g);
    want.push_back(granules - 2);
    want.push_back(granules - 1);
    EXPECT_EQ(run(select_margin, problem, 0.25f).list, want);
  }
}

TEST(SelectMargin, EpsilonZeroIsDense) {
  Small problem(2);
  for (float& e : problem.log_masses) e = -1e30f;
  problem.kept_lse[0] = 1e30f;
  const Listed result = run(select_margin, problem, 0.0f);
  EXPECT_EQ(result.list, all_granules(problem));
  EXPECT_FALSE(result.routed);
  EXPECT_EQ(run(select_route, problem, 0.0f).list, all_granules(problem));
  for (float& e : problem.log_masses) e = -kInf;
  EXPECT_EQ(run(select_margin, problem, 0.0f).list, all_granules(problem));
}

TEST(SelectMargin, WhatIsNotANumberReadsEverything) {
  const auto expect_all = [](auto&& change) {
    Small problem(2);
    change(problem);
    for (const Listed& result :
         {run(select_margin, problem, 0.05f), run(select_route, problem, 0.05f)}) {
      EXPECT_EQ(result.list, all_granules(problem));
      EXPECT_FALSE(result.routed);
    }
  };
  expect_all([](Small& p) { p.log_mass(1, 17) = kNaN; });
  expect_all([](Small& p) { p.log_mass(1, 1) = kInf; });
  expect_all([](Small& p) { p.kept_lse[1] = kNaN; });
  expect_all([](Small& p) { p.kept_lse[0] = kInf; });
  expect_all([](Small& p) {
    p.log_masses.assign(p.log_masses.size(), -kInf);
    p.kept_lse[1] = -kInf;
  });
}

TEST(SelectMargin, EstimatesOfKeptGranulesDoNotMatter) {
  Small problem(1, {5, 5, 0, 19});
  for (int g : {0, 5, 18, 19}) problem.log_mass(0, g) = kNaN;
  const Listed result = run(select_margin, problem, 0.05f);
  EXPECT_EQ(result.list, (List{0, 5, 18, 19}));
  EXPECT_TRUE(result.routed);
  problem.log_mass(0, 5) = 50.0f;
  problem.log_mass(0, 6) = 0.0f;
  EXPECT_EQ(run(select_margin, problem, 0.05f).list, (List{0, 5, 6, 18, 19}));
}

TEST(SelectMargin, ALightKeptSetDoesNotHideTheRest) {
  Small problem;
  problem.kept_lse[0] = -kInf;
  for (float& e : problem.log_masses) e = -kInf;
  problem.log_mass(0, 9) = -500.0f;
  EXPECT_EQ(run(select_margin, problem, 0.05f).list, (List{0, 9, 18, 19}));
}

TEST(SelectMargin, MassThatUnderflowsIsNotForgotten) {
  Small problem;
  problem.kept_lse[0] = 0.0f;
  problem.log_mass(0, 9) = -200.0f;
  EXPECT_EQ(run(select_margin, problem, 1e-38f).list, all_granules(problem));
  EXPECT_EQ(run(select_margin, problem, 1e-30f).routed, false);
  EXPECT_EQ(run(select_margin, problem, 1e-10f).routed, true);
}

TEST(SelectMargin, ShortSequencesAreTheKeptSet) {
  for (int length : {0, 1, 31, 32, 33, 64, 95}) {
    for (int granule : {1, 32, 64, 128}) {
      Problem problem(length, granule, 64, 2);
      for (const Listed& result :
           {run(select_margin, problem, 0.05f), run(select_margin, problem, 0.0f),
            run(select_route, problem, 0.05f)}) {
        EXPECT_EQ(result.list, all_granules(problem));
        EXPECT_TRUE(result.routed);
      }
    }
  }
}

TEST(SelectRoute, IsAllOrNothing) {
  Small problem(2);
  EXPECT_EQ(run(select_route, problem, 0.05f).list, (List{0, 18, 19}));
  EXPECT_TRUE(run(select_route, problem, 0.05f).routed);
  problem.log_mass(1, 7) = 0.0f;
  EXPECT_EQ(run(select_route, problem, 0.05f).list, all_granules(problem));
  EXPECT_FALSE(run(select_route, problem, 0.05f).routed);
  EXPECT_TRUE(run(select_route, problem, 0.6f).routed);
}

TEST(SelectOthers, StreamingAndDense) {
  Small problem(1, {4});
  List list(20);
  Selection selection = select_streaming(problem.kept, list.data());
  list.resize(selection.count);
  EXPECT_EQ(list, (List{0, 4, 18, 19}));
  EXPECT_TRUE(selection.routed);
  list.assign(20, -1);
  selection = select_dense(20, list.data());
  EXPECT_EQ(selection.count, 20);
  EXPECT_EQ(list, all_granules(problem));
  EXPECT_FALSE(selection.routed);
  EXPECT_EQ(select_dense(0, nullptr).count, 0);
}

TEST(SelectCosine, RoutesWhenEveryHeadAgrees) {
  const auto select = [](int length, std::vector<float> cosines, float tau) {
    List list(length, -1);
    const Selection selection = select_cosine(length, cosines, tau, list.data());
    list.resize(selection.count);
    return std::pair(list, selection.routed);
  };
  EXPECT_EQ(select(5, {0.6f, 0.5f}, 0.5f), std::pair(List{0}, true));
  EXPECT_EQ(select(3, {0.6f, 0.49f}, 0.5f), std::pair(List{0, 1, 2}, false));
  EXPECT_EQ(select(3, {0.6f, kNaN}, -1.0f), std::pair(List{0, 1, 2}, false));
  EXPECT_EQ(select(3, {kNaN, 0.6f}, -1.0f), std::pair(List{0, 1, 2}, false));
  EXPECT_EQ(select(0, {0.6f}, 0.5f), std::pair(List{}, false));
}

TEST(SelectScratch, OfWorkersSideBySideStaysAligned) {
  for (int granules = 0; granules < 1000; ++granules) {
    EXPECT_EQ(select_scratch_bytes(granules) % 64, 0) << granules;
  }
}

}  // namespace
}  // namespace sinkrouter::test
