#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <random>

#include "base/block_size.h"
#include "router/every_target.h"
#include "router/selection_reference.h"

namespace sinkrouter::test {
namespace {

using List = std::vector<std::int32_t>;
constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

// Bounds of every row that is not in the kept set, pinned blocks' too.
struct BoundProblem : Problem {
  List blocks;
  std::vector<float> lower;  // [group, rows of blocks]
  std::vector<float> upper;

  BoundProblem(int length, int window, int q_heads, List pins = {})
      : Problem(length, kBlockSize, window, q_heads, std::move(pins)),
        blocks(static_cast<std::size_t>(kept.tail_begin - kept.head_end)) {
    std::iota(blocks.begin(), blocks.end(), kept.head_end);
    lower.assign(static_cast<std::size_t>(group) * rows(), -30.0f);
    upper = lower;
  }
  int rows() const { return static_cast<int>(blocks.size()) * kBlockSize; }
  int token(int row) const { return blocks[row / kBlockSize] * kBlockSize + row % kBlockSize; }
  bool pinned_row(int row) const {
    return std::ranges::find(pinned, blocks[row / kBlockSize]) != pinned.end();
  }
  void bound(int q, int row, float low, float high) {
    lower[q * rows() + row] = low;
    upper[q * rows() + row] = high;
  }
};

Listed select(const BoundProblem& problem, float epsilon) {
  const auto bytes = static_cast<std::size_t>(select_scratch_bytes(problem.kept.length));
  std::vector<std::uint8_t> storage(bytes + 64, 0xff);
  void* scratch = storage.data();
  std::size_t space = storage.size();
  std::align(64, bytes, scratch, space);
  std::vector<float> lower = problem.lower;
  std::vector<float> upper = problem.upper;
  const RowBounds bounds{lower.data(), upper.data(), problem.rows(), problem.kept_lse.data(),
                         problem.group};
  Listed result;
  result.list.resize(problem.kept.length);
  const Selection selection =
      select_certified(problem.kept, problem.blocks, bounds, epsilon, scratch, result.list.data());
  result.list.resize(selection.count);
  result.routed = selection.routed;
  return result;
}

// p_U of a q head in doubles when logits are those of logit(row, is_read).
double unread_mass(const BoundProblem& problem, int q, const List& list,
                   const std::function<double(int row, bool is_read)>& logit) {
  double unread = 0;
  double total = std::exp(double{problem.kept_lse[q]});
  for (int row = 0; row < problem.rows(); ++row) {
    if (problem.pinned_row(row)) continue;
    const bool is_read = std::ranges::binary_search(list, problem.token(row));
    const double mass = std::exp(logit(row, is_read));
    total += mass;
    if (!is_read) unread += mass;
  }
  return unread / total;
}

List every_row(const Problem& problem) {
  List rows(problem.kept.length);
  std::iota(rows.begin(), rows.end(), 0);
  return rows;
}

void for_random_problems(int rounds,
                         const std::function<void(BoundProblem&, float epsilon, Rng&)>& check) {
  const std::uint64_t seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  Rng rng(seed);
  for (int round = 0; round < rounds; ++round) {
    const int length = 1 + static_cast<int>(rng.below(4000));
    List pinned;
    const int count = (length + kBlockSize - 1) / kBlockSize;
    for (std::uint64_t n = rng.below(2) * rng.below(5); n > 0; --n) {
      pinned.push_back(static_cast<std::int32_t>(rng.below(count)));
    }
    BoundProblem problem(length, 1 + static_cast<int>(rng.below(200)),
                         1 + static_cast<int>(rng.below(6)), pinned);
    for (int q = 0; q < problem.group; ++q) {
      constexpr float kSpreads[] = {0.1f, 1.0f, 3.0f, 8.0f, 100.0f};
      const float spread = kSpreads[rng.below(5)];
      const float slack = 2.0f * static_cast<float>(rng.uniform());
      for (int row = 0; row < problem.rows(); ++row) {
        const float centre = spread * rng.normal();
        const float half = slack * static_cast<float>(rng.uniform());
        problem.bound(q, row, centre - half, centre + half);
      }
      problem.kept_lse[q] = std::log(static_cast<float>(length)) + spread * rng.normal();
    }
    const auto epsilon = static_cast<float>(std::pow(10.0, -5.0 * rng.uniform()) * 0.9);
    SCOPED_TRACE(testing::Message() << "round " << round << " length " << length << " epsilon "
                                    << epsilon << " pinned " << testing::PrintToString(pinned));
    check(problem, epsilon, rng);
    if (testing::Test::HasFatalFailure()) return;
  }
}

TEST(SelectCertified, TakesRowsByUpperBoundsAndTrustsLowerOnes) {
  BoundProblem problem(650, 64, 1, {5});
  problem.bound(0, 7 * 32 + 3 - 32, -4.0f, 0.0f);
  problem.bound(0, 9 * 32 + 1 - 32, -1.0f, -0.5f);
  const Listed both = select(problem, 0.05f);
  EXPECT_TRUE(std::ranges::binary_search(both.list, 7 * 32 + 3));
  EXPECT_TRUE(std::ranges::binary_search(both.list, 9 * 32 + 1));
  EXPECT_TRUE(std::ranges::binary_search(both.list, 5 * 32 + 31));
  EXPECT_EQ(both.list.size(), 32u + 32u + 650u - 18 * 32u + 2u);
  EXPECT_FALSE(both.routed);
  // What is certain elsewhere lets rows be left.
  problem.kept_lse[0] = 4.0f;
  EXPECT_TRUE(select(problem, 0.05f).routed);
  problem.kept_lse[0] = 0.0f;
  problem.bound(0, 10 * 32 - 32, 10.0f, 10.5f);
  const Listed one = select(problem, 0.05f);
  EXPECT_TRUE(std::ranges::binary_search(one.list, 10 * 32));
  EXPECT_EQ(one.list.size(), both.list.size() - 1);
}

TEST(SelectCertified, WithoutBlocksTheKeptRows) {
  for (int length : {0, 1, 31, 32, 33, 64, 95}) {
    const BoundProblem problem(length, 64, 2);
    ASSERT_TRUE(problem.blocks.empty());
    const Listed result = select(problem, 0.05f);
    EXPECT_EQ(result.list, every_row(problem)) << length;
    EXPECT_TRUE(result.routed);
  }
}

TEST(SelectCertified, WhatIsNotFiniteReadsEverything) {
  for (const auto& [low, high] : {std::pair{kNaN, kNaN},
                                  {kNaN, 0.0f},
                                  {0.0f, kNaN},
                                  {-kInf, kInf},
                                  {kInf, kInf},
                                  {1.0f, -1.0f}}) {
    BoundProblem problem(650, 64, 2);
    problem.kept_lse = {-1.0f, -1.0f};
    problem.bound(1, 3, low, high);
    EXPECT_EQ(select(problem, 0.05f).list, every_row(problem)) << low << " " << high;
  }
  for (const float lse : {kNaN, kInf}) {
    BoundProblem problem(650, 64, 2);
    problem.kept_lse[1] = lse;
    EXPECT_EQ(select(problem, 0.05f).list, every_row(problem)) << lse;
  }
  EXPECT_EQ(select(BoundProblem(650, 64, 1), 0.0f).list, every_row(BoundProblem(650, 64, 1)));
}

TEST(SelectCertified, NothingCertainReadsEverything) {
  BoundProblem problem(650, 64, 1);
  problem.kept_lse[0] = -kInf;
  for (int row = 0; row < problem.rows(); ++row) problem.bound(0, row, -kInf, 0.0f);
  EXPECT_EQ(select(problem, 0.9f).list, every_row(problem));
}

// The theorem: wherever between their bounds the logits are, unread mass is at most epsilon.
TEST(SelectCertifiedProperties, UnreadMassIsAtMostEpsilon) {
  on_every_target([] {
    for_random_problems(150, [](BoundProblem& problem, float epsilon, Rng& rng) {
      const List list = select(problem, epsilon).list;
      for (int q = 0; q < problem.group; ++q) {
        const auto low = [&](int row) { return double{problem.lower[q * problem.rows() + row]}; };
        const auto high = [&](int row) { return double{problem.upper[q * problem.rows() + row]}; };
        ASSERT_LE(
            unread_mass(problem, q, list,
                        [&](int row, bool is_read) { return is_read ? low(row) : high(row); }),
            epsilon);
        ASSERT_LE(unread_mass(problem, q, list,
                              [&](int row, bool) {
                                return low(row) + rng.uniform() * (high(row) - low(row));
                              }),
                  epsilon);
      }
    });
  });
}

// A row less, and the sum of upper bounds is more than epsilon of what is certain.
TEST(SelectCertifiedProperties, NothingIsWasted) {
  for_random_problems(150, [](BoundProblem& problem, float epsilon, Rng&) {
    if (problem.group > 1) return;
    const List list = select(problem, epsilon).list;
    double certain = std::exp(double{problem.kept_lse[0]});
    double left = 0;
    double smallest = std::numeric_limits<double>::infinity();
    for (int row = 0; row < problem.rows(); ++row) {
      if (problem.pinned_row(row)) continue;
      certain += std::exp(double{problem.lower[row]});
      const double mass = std::exp(double{problem.upper[row]});
      if (std::ranges::binary_search(list, problem.token(row))) {
        smallest = std::min(smallest, mass);
      } else {
        left += mass;
      }
    }
    ASSERT_GT(left + smallest, epsilon * certain * (1 - 2e-4));
  });
}

TEST(SelectCertifiedProperties, TheGroupReadsTheUnionOfItsHeads) {
  for_random_problems(100, [](BoundProblem& problem, float epsilon, Rng&) {
    std::set<std::int32_t> united;
    for (int q = 0; q < problem.group; ++q) {
      BoundProblem single(problem.kept.length, 64, 1, problem.pinned);
      single.kept = problem.kept;
      single.blocks = problem.blocks;
      single.kept_lse[0] = problem.kept_lse[q];
      const auto from = std::int64_t{q} * problem.rows();
      single.lower.assign(problem.lower.begin() + from,
                          problem.lower.begin() + from + problem.rows());
      single.upper.assign(problem.upper.begin() + from,
                          problem.upper.begin() + from + problem.rows());
      const List list = select(single, epsilon).list;
      united.insert(list.begin(), list.end());
    }
    ASSERT_TRUE(std::ranges::equal(select(problem, epsilon).list, united));
  });
}

}  // namespace
}  // namespace sinkrouter::test
