#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <random>
#include <span>

#include "base/block_size.h"
#include "router/every_target.h"
#include "router/selection_reference.h"

namespace sinkrouter::test {
namespace {

using List = std::vector<std::int32_t>;
constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

// Scratch of a selection over `granules`, poisoned.
class ScratchMemory {
 public:
  explicit ScratchMemory(int granules)
      : bytes_(static_cast<std::size_t>(select_scratch_bytes(granules))),
        storage_(bytes_ + 64, 0xff) {}
  void* data() {
    void* memory = storage_.data();
    std::size_t space = storage_.size();
    return std::align(64, bytes_, memory, space);
  }

 private:
  std::size_t bytes_;
  std::vector<std::uint8_t> storage_;
};

struct ChosenBlocks {
  List blocks;
  std::vector<float> left;  // [group]
};

ChosenBlocks choose(const Problem& problem, float epsilon) {
  ScratchMemory scratch(problem.kept.granules);
  std::vector<float> log_masses = problem.log_masses;
  const GroupEstimates estimates{log_masses.data(), problem.kept.granules, problem.kept_lse.data(),
                                 problem.group};
  ChosenBlocks chosen{List(problem.kept.granules),
                      std::vector<float>(static_cast<std::size_t>(problem.group), kNaN)};
  chosen.blocks.resize(select_blocks(problem.kept, estimates, epsilon, scratch.data(),
                                     chosen.blocks.data(), chosen.left.data()));
  return chosen;
}

// Both tiers' inputs; rows of every block have an estimate.
struct RowProblem : Problem {
  std::vector<float> row_logits;  // [group, length]

  RowProblem(int length, int window, int q_heads, List pins = {})
      : Problem(length, kBlockSize, window, q_heads, std::move(pins)),
        row_logits(static_cast<std::size_t>(group) * length, -30.0f) {}
  float& row_logit(int q, int row) { return row_logits[q * kept.length + row]; }
};

Listed select(const RowProblem& problem, const ChosenBlocks& chosen, float epsilon) {
  const int count = static_cast<int>(chosen.blocks.size());
  const auto words = static_cast<std::size_t>(needed_words(count * kBlockSize));
  std::vector<std::uint64_t> needed(problem.group * words, 0xdeadbeef);
  std::vector<RowNeeds> heads;
  for (int q = 0; q < problem.group; ++q) {
    std::vector<float> logits;
    for (std::int32_t block : chosen.blocks) {
      const auto first =
          problem.row_logits.begin() + std::int64_t{q} * problem.kept.length + block * kBlockSize;
      logits.insert(logits.end(), first, first + kBlockSize);
    }
    ScratchMemory scratch(count * kBlockSize);
    heads.push_back({Need::kNone, needed.data() + q * words});
    if (count == 0 && epsilon > 0.0f) continue;
    heads.back().need =
        mark_rows(problem.kept, chosen.blocks, logits.data(), {problem.kept_lse[q], chosen.left[q]},
                  epsilon, scratch.data(), heads.back().needed);
  }
  Listed result;
  result.list.resize(problem.kept.length);
  const Selection selection = list_rows(problem.kept, chosen.blocks, heads, result.list.data());
  result.list.resize(selection.count);
  result.routed = selection.routed;
  return result;
}

List rows_of(const List& blocks, int length) {
  List rows;
  for (std::int32_t block : blocks) {
    for (int row = block * kBlockSize; row < std::min((block + 1) * kBlockSize, length); ++row) {
      rows.push_back(row);
    }
  }
  return rows;
}

List kept_rows(const Problem& problem) { return rows_of(kept_list(problem), problem.kept.length); }

List every_row(const Problem& problem) {
  List rows(problem.kept.length);
  std::iota(rows.begin(), rows.end(), 0);
  return rows;
}

// A q head's estimated unread share once `list` is read, in doubles.
double unread_share(const RowProblem& problem, const ChosenBlocks& chosen, int q,
                    const List& list) {
  double total = std::exp(double{problem.kept_lse[q]}) + std::exp(double{chosen.left[q]});
  double unread = std::exp(double{chosen.left[q]});
  for (std::int32_t row : rows_of(chosen.blocks, problem.kept.length)) {
    if (problem.kept.contains(row / kBlockSize)) continue;
    const double mass = std::exp(double{problem.row_logits[q * problem.kept.length + row]});
    total += mass;
    if (!std::ranges::binary_search(list, row)) unread += mass;
  }
  return unread / total;
}

void for_random_problems(int rounds,
                         const std::function<void(RowProblem&, float epsilon, Rng&)>& check) {
  const std::uint64_t seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  Rng rng(seed);
  for (int round = 0; round < rounds; ++round) {
    const int length = 1 + static_cast<int>(rng.below(6000));
    const int blocks = (length + kBlockSize - 1) / kBlockSize;
    List pinned;
    for (std::uint64_t n = rng.below(2) * rng.below(5); n > 0; --n) {
      pinned.push_back(static_cast<std::int32_t>(rng.below(blocks)));
    }
    RowProblem problem(length, 1 + static_cast<int>(rng.below(200)),
                       1 + static_cast<int>(rng.below(6)), pinned);
    for (int q = 0; q < problem.group; ++q) {
      constexpr float kSpreads[] = {0.1f, 1.0f, 3.0f, 8.0f};
      const float spread = kSpreads[rng.below(4)];
      for (int row = 0; row < length; ++row) problem.row_logit(q, row) = spread * rng.normal();
      for (int b = 0; b < blocks; ++b) {
        double sum = 0;
        for (int row = b * kBlockSize; row < std::min((b + 1) * kBlockSize, length); ++row) {
          sum += std::exp(double{problem.row_logit(q, row)});
        }
        // Tier 0 is off by a little.
        problem.log_mass(q, b) = static_cast<float>(std::log(sum)) + 0.3f * rng.normal();
      }
      problem.kept_lse[q] = std::log(static_cast<float>(length)) + spread + 3.0f * rng.normal();
    }
    const auto epsilon = static_cast<float>(std::pow(10.0, -4.0 * rng.uniform()) * 0.9);
    SCOPED_TRACE(testing::Message() << "round " << round << " length " << length << " epsilon "
                                    << epsilon << " pinned " << testing::PrintToString(pinned));
    check(problem, epsilon, rng);
    if (testing::Test::HasFatalFailure()) return;
  }
}

TEST(SelectBlocks, ListsWhatIsNeededAndSaysWhatIsLeft) {
  Problem problem(640, 32, 64, 2, {5});
  for (float& e : problem.log_masses) e = -30.0f;
  problem.log_mass(0, 7) = 0.0f;
  problem.log_mass(1, 9) = -4.0f;
  const ChosenBlocks chosen = choose(problem, 0.05f);
  EXPECT_EQ(chosen.blocks, (List{5, 7}));
  EXPECT_NEAR(chosen.left[0], std::log(15 * std::exp(-30.0)), 1e-3);
  EXPECT_NEAR(chosen.left[1], -4.0, 1e-3);
}

TEST(SelectBlocks, NothingWhenTheKeptSetIsEnough) {
  Problem problem(640, 32, 64, 1, {5});
  for (float& e : problem.log_masses) e = -30.0f;
  const ChosenBlocks chosen = choose(problem, 0.05f);
  EXPECT_TRUE(chosen.blocks.empty());
  EXPECT_FALSE(std::isnan(chosen.left[0]));
}

TEST(SelectBlocks, WhatIsNotANumberNamesEveryBlock) {
  Problem problem(640, 32, 64, 1);
  for (float& e : problem.log_masses) e = -30.0f;
  problem.log_mass(0, 9) = kNaN;
  const ChosenBlocks chosen = choose(problem, 0.05f);
  ASSERT_EQ(chosen.blocks.size(), 17u);
  EXPECT_EQ(chosen.blocks.front(), 1);
  EXPECT_EQ(chosen.blocks.back(), 17);
  EXPECT_EQ(chosen.left[0], -kInf);
}

TEST(SelectRows, TakesRowsFromTheTopAndSpreadsTheKeptBlocks) {
  RowProblem problem(650, 64, 1, {5});
  problem.row_logit(0, 7 * 32 + 3) = 0.0f;
  problem.row_logit(0, 7 * 32 + 30) = -2.0f;
  problem.row_logit(0, 7 * 32 + 4) = -9.0f;
  const ChosenBlocks chosen{{5, 7}, {-kInf}};
  List want = kept_rows(problem);
  want.push_back(7 * 32 + 3);
  want.push_back(7 * 32 + 30);
  std::ranges::sort(want);
  const Listed result = select(problem, chosen, 0.05f);
  EXPECT_EQ(result.list, want);
  EXPECT_FALSE(result.routed);
}

TEST(SelectRows, WithoutBlocksTheKeptRows) {
  for (int length : {0, 1, 31, 32, 33, 64, 95, 96, 97, 650, 1000}) {
    for (const List& pinned : {List{}, List{0}}) {
      if (length == 0 && !pinned.empty()) continue;
      RowProblem problem(length, 64, 2, pinned);
      const Listed result = select(problem, {{}, {0.0f, 0.0f}}, 0.05f);
      EXPECT_EQ(result.list, kept_rows(problem)) << length;
      EXPECT_TRUE(result.routed);
    }
  }
}

TEST(SelectRows, WhatIsNotANumberReadsEverything) {
  for (const float bad : {kNaN, kInf}) {
    RowProblem problem(650, 64, 2);
    problem.row_logit(1, 7 * 32 + 3) = bad;
    const ChosenBlocks chosen{{7}, {-kInf, -kInf}};
    const Listed result = select(problem, chosen, 0.05f);
    EXPECT_EQ(result.list, every_row(problem));
    EXPECT_FALSE(result.routed);
  }
  const RowProblem problem(650, 64, 1);
  EXPECT_EQ(select(problem, {{7}, {kNaN}}, 0.05f).list, every_row(problem));
  EXPECT_EQ(select(problem, {{7}, {-kInf}}, 0.0f).list, every_row(problem));
}

TEST(SelectRows, TooMuchLeftByTierZeroReadsEveryRowOfTheBlocks) {
  RowProblem problem(650, 64, 1);
  const ChosenBlocks chosen{{7, 9}, {2.0f}};  // far more than 5% of 1 + e^2
  List want = kept_rows(problem);
  const List rows = rows_of(chosen.blocks, 650);
  want.insert(want.end(), rows.begin(), rows.end());
  std::ranges::sort(want);
  EXPECT_EQ(select(problem, chosen, 0.05f).list, want);
}

TEST(SelectRowsProperties, NoHeadsObjectionIsLostAndNothingIsWasted) {
  int too_much_left = 0;
  on_every_target([&] {
    for_random_problems(150, [&](RowProblem& problem, float epsilon, Rng&) {
      const ChosenBlocks chosen = choose(problem, epsilon / 4);
      const Listed result = select(problem, chosen, epsilon);
      ASSERT_TRUE(std::ranges::adjacent_find(result.list, std::greater_equal<>()) ==
                  result.list.end());
      const List kept = kept_rows(problem);
      ASSERT_TRUE(std::ranges::includes(result.list, kept));
      ASSERT_EQ(result.routed, result.list == kept);
      List readable = rows_of(chosen.blocks, problem.kept.length);
      readable.insert(readable.end(), kept.begin(), kept.end());
      std::ranges::sort(readable);
      readable.erase(std::unique(readable.begin(), readable.end()), readable.end());
      ASSERT_TRUE(std::ranges::includes(readable, result.list));
      for (int q = 0; q < problem.group; ++q) {
        const double share = unread_share(problem, chosen, q, result.list);
        if (share <= epsilon * (1 + 1e-6)) continue;
        ++too_much_left;
        ASSERT_EQ(result.list, readable) << q;
      }
      // Any row less is too few for some head.
      if (problem.group > 1 || result.list == readable) return;
      std::int32_t smallest = -1;
      for (std::int32_t row : result.list) {
        if (std::ranges::binary_search(kept, row)) continue;
        if (smallest < 0 || problem.row_logit(0, row) < problem.row_logit(0, smallest)) {
          smallest = row;
        }
      }
      if (smallest < 0) return;
      List fewer = result.list;
      std::erase(fewer, smallest);
      ASSERT_GT(unread_share(problem, chosen, 0, fewer), epsilon * (1 - 2e-4));
    });
  });
  EXPECT_LT(too_much_left, 100);
}

TEST(SelectRowsProperties, TheGroupReadsTheUnionOfItsHeads) {
  for_random_problems(150, [](RowProblem& problem, float epsilon, Rng&) {
    const ChosenBlocks chosen = choose(problem, epsilon / 4);
    if (chosen.blocks.empty()) return;
    std::set<std::int32_t> united;
    for (int q = 0; q < problem.group; ++q) {
      RowProblem single(problem.kept.length, 64, 1, problem.pinned);
      single.kept = problem.kept;
      single.kept_lse[0] = problem.kept_lse[q];
      std::copy_n(problem.row_logits.begin() + std::int64_t{q} * problem.kept.length,
                  problem.kept.length, single.row_logits.begin());
      const List list = select(single, {chosen.blocks, {chosen.left[q]}}, epsilon).list;
      united.insert(list.begin(), list.end());
    }
    ASSERT_TRUE(std::ranges::equal(select(problem, chosen, epsilon).list, united));
  });
}

TEST(SelectRowsProperties, LargerEpsilonReadsASubsetOfTheSameBlocks) {
  for_random_problems(150, [](RowProblem& problem, float epsilon, Rng&) {
    const ChosenBlocks chosen = choose(problem, epsilon / 4);
    const List smaller = select(problem, chosen, epsilon).list;
    const List larger = select(problem, chosen, epsilon / 3).list;
    ASSERT_TRUE(std::ranges::includes(larger, smaller));
  });
}

}  // namespace
}  // namespace sinkrouter::test
