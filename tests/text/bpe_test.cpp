#include "text/bpe.h"

#include <gtest/gtest.h>

#include <random>

#include "base/rng.h"
#include "sinkrouter/error.h"

namespace sinkrouter::text {
namespace {

struct RandomModel {
  PieceIds ids;
  std::vector<Merge> merges;
};

// Pieces over {a, b, c}, each made of two earlier ones.
RandomModel random_model(Rng& rng) {
  RandomModel model;
  std::vector<std::string> pieces = {"a", "b", "c"};
  for (int id = 0; id < 3; ++id) model.ids.emplace(pieces[id], id);
  const std::size_t merges = 1 + rng.below(40);
  for (std::size_t i = 0; i < merges; ++i) {
    const int left = static_cast<int>(rng.below(pieces.size()));
    const int right = static_cast<int>(rng.below(pieces.size()));
    const std::string piece = pieces[left] + pieces[right];
    const auto [entry, is_new] = model.ids.try_emplace(piece, static_cast<int>(pieces.size()));
    if (is_new) pieces.push_back(piece);
    model.merges.push_back({left, right, entry->second, static_cast<int>(i)});
  }
  return model;
}

// The definition: again and again, the pair of the lowest rank, leftmost first.
std::vector<int> slow_bpe(const RandomModel& model, const std::string& word) {
  std::vector<int> ids;
  for (const char c : word) ids.push_back(model.ids.at(std::string(1, c)));
  for (;;) {
    const Merge* best = nullptr;
    std::size_t best_at = 0;
    for (std::size_t at = 0; at + 1 < ids.size(); ++at) {
      const Merge* merge = nullptr;  // the last of the same pair counts
      for (const Merge& candidate : model.merges) {
        if (candidate.left == ids[at] && candidate.right == ids[at + 1]) merge = &candidate;
      }
      if (merge != nullptr && (best == nullptr || merge->rank < best->rank)) {
        best = merge;
        best_at = at;
      }
    }
    if (best == nullptr) return ids;
    ids[best_at] = best->result;
    ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(best_at) + 1);
  }
}

TEST(BpeTest, EqualsTheDefinition) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE(seed);
  Rng rng(seed);
  for (int round = 0; round < 300; ++round) {
    const RandomModel random = random_model(rng);
    const BpeModel model(random.ids, random.merges, {});
    BpeModel::Workspace workspace;
    for (int i = 0; i < 10; ++i) {
      std::string word;
      const std::uint64_t length = 1 + rng.below(40);
      for (std::uint64_t c = 0; c < length; ++c) word += static_cast<char>('a' + rng.below(3));
      std::vector<int> ids;
      model.encode(word, workspace, ids);
      ASSERT_EQ(ids, slow_bpe(random, word)) << word;
    }
  }
}

TEST(BpeTest, TreatsUnknownCharactersAsAsked) {
  const PieceIds ids = {{"a", 0}, {"<unk>", 1}, {"<0xC3>", 2}, {"<0xA9>", 3}};
  BpeModel::Workspace workspace;
  const auto encode = [&](const BpeOptions& options, std::string_view word) {
    std::vector<int> out;
    BpeModel(ids, {}, options).encode(word, workspace, out);
    return out;
  };
  using Ids = std::vector<int>;
  EXPECT_EQ(encode({.unk_id = 1}, "axya"), (Ids{0, 1, 1, 0}));
  EXPECT_EQ(encode({.unk_id = 1, .fuse_unk = true}, "axyaz"), (Ids{0, 1, 0, 1}));
  EXPECT_EQ(encode({.unk_id = 1, .byte_fallback = true}, "aéz"), (Ids{0, 2, 3, 1}));
  EXPECT_THROW(encode({}, "az"), Error);
  EXPECT_THROW(encode({.byte_fallback = true}, "ü"), Error);
}

TEST(BpeTest, WholeWordsCanGoBeforeMerges) {
  const PieceIds ids = {{"a", 0}, {"b", 1}, {"c", 2}, {"ab", 3}, {"bc", 4}, {"abc", 5}};
  const std::vector<Merge> merges = {{1, 2, 4, 0}, {0, 1, 3, 1}, {3, 2, 5, 2}};
  BpeModel::Workspace workspace;
  std::vector<int> merged;
  BpeModel(ids, merges, {}).encode("abc", workspace, merged);
  EXPECT_EQ(merged, (std::vector<int>{0, 4}));
  std::vector<int> whole;
  BpeModel(ids, merges, {.ignore_merges = true}).encode("abc", workspace, whole);
  EXPECT_EQ(whole, (std::vector<int>{5}));
}

TEST(BpeTest, RankedPiecesMergeWheneverTheConcatenationIsAPiece) {
  const std::vector<Merge> merges = merges_of_ranked_pieces({"a", "b", "ab", "ba", "aba"});
  const auto has = [&](int left, int right, int result) {
    return std::any_of(merges.begin(), merges.end(), [&](const Merge& merge) {
      return merge.left == left && merge.right == right && merge.result == result &&
             merge.rank == result;
    });
  };
  EXPECT_EQ(merges.size(), 4u);
  EXPECT_TRUE(has(0, 1, 2));
  EXPECT_TRUE(has(1, 0, 3));
  EXPECT_TRUE(has(2, 0, 4));
  EXPECT_TRUE(has(0, 3, 4));
}

}  // namespace
}  // namespace sinkrouter::text
