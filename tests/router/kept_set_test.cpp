#include "router/kept_set.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>
#include <vector>

#include "base/block_size.h"
#include "base/rng.h"
#include "sinkrouter/error.h"

namespace sinkrouter::test {
namespace {

// Row by row, from the definition.
std::vector<std::int32_t> expected(int length, int granule, int window,
                                   const std::vector<std::int32_t>& pinned) {
  std::set<std::int32_t> result;
  for (int row = 0; row < length; ++row) {
    const int block = row / kBlockSize;
    const bool kept = block == 0 || (block + 1) * kBlockSize > length - window ||
                      row >= length / kBlockSize * kBlockSize ||
                      std::ranges::find(pinned, block) != pinned.end();
    if (kept) result.insert(row / granule);
  }
  return {result.begin(), result.end()};
}

void check(int length, int granule, int window, const std::vector<std::int32_t>& pinned) {
  SCOPED_TRACE(testing::Message() << "length " << length << " granule " << granule << " window "
                                  << window << " pinned " << testing::PrintToString(pinned));
  const KeptSet kept = make_kept_set(length, granule, window, pinned);
  EXPECT_EQ(kept.granules, (length + granule - 1) / granule);
  EXPECT_LE(kept.head_end, kept.tail_begin);
  EXPECT_LE(kept.tail_begin, kept.granules);
  std::vector<std::int32_t> list(kept.granules + 1, -1);
  list.resize(write_kept_list(kept, list.data()));
  const std::vector<std::int32_t> want = expected(length, granule, window, pinned);
  EXPECT_EQ(list, want);
  for (int g = 0; g < kept.granules; ++g) {
    EXPECT_EQ(kept.contains(g), std::ranges::binary_search(want, g)) << g;
  }
}

TEST(KeptSet, MatchesItsDefinition) {
  for (int granule : {1, 16, 32, 64, 128, 256}) {
    for (int length : {0, 1, 31, 32, 33, 63, 64, 65, 95, 96, 127, 128, 129, 255, 256, 257, 1000}) {
      for (int window : {1, 31, 32, 33, 64, 200, 1 << 20}) check(length, granule, window, {});
    }
  }
}

TEST(KeptSet, HoldsPinnedBlocks) {
  const std::uint64_t seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  Rng rng(seed);
  for (int round = 0; round < 300; ++round) {
    const int length = 1 + static_cast<int>(rng.below(2000));
    const int blocks = (length + kBlockSize - 1) / kBlockSize;
    std::vector<std::int32_t> pinned;
    for (std::uint64_t n = rng.below(6); n > 0; --n) {
      pinned.push_back(static_cast<std::int32_t>(rng.below(blocks)));
      if (rng.below(3) == 0) pinned.push_back(pinned.front());
    }
    constexpr int kGranules[] = {1, 16, 32, 64, 128, 256};
    check(length, kGranules[rng.below(6)], 1 + static_cast<int>(rng.below(300)), pinned);
  }
}

TEST(KeptSet, RefusesWhatCannotBe) {
  const std::vector<std::int32_t> beyond = {2};
  EXPECT_NO_THROW(make_kept_set(65, 32, 1, beyond));
  EXPECT_THROW(make_kept_set(64, 32, 1, beyond), Error);
  const std::vector<std::int32_t> huge = {1 << 30};
  EXPECT_THROW(make_kept_set(64, 32, 1, huge), Error);
  const std::vector<std::int32_t> negative = {-1};
  EXPECT_THROW(make_kept_set(64, 32, 1, negative), Error);
  EXPECT_THROW(make_kept_set(-1, 32, 1), Error);
  EXPECT_THROW(make_kept_set(64, 0, 1), Error);
  EXPECT_THROW(make_kept_set(64, 32, 0), Error);
}

}  // namespace
}  // namespace sinkrouter::test
