#include "kv/kv_cache.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

#include "kv/cache_fixture.h"

namespace sinkrouter::test {
namespace {

class KvCacheTest : public testing::Test {
 protected:
  std::vector<TokenRows> tokens(const KvCacheConfig& config, int n) {
    std::vector<TokenRows> result;
    for (int i = 0; i < n; ++i) result.push_back(random_token(config, rng_));
    return result;
  }

  std::uint64_t seed_ = std::random_device{}();
  Rng rng_{seed_};
  testing::ScopedTrace trace_{__FILE__, __LINE__, "seed " + std::to_string(seed_)};
};

void extend(std::vector<TokenRows>& to, const std::vector<TokenRows>& more) {
  to.insert(to.end(), more.begin(), more.end());
}

TEST_F(KvCacheTest, ForksShareFullPagesAndCopyTheLastOneOnWrite) {
  const KvCacheConfig config = small_config(DType::kBF16, 64, 1024);
  KvCache cache(config);
  std::vector<TokenRows> prefix = tokens(config, 3 * 64 + 40);
  const SequenceId parent = cache.create();
  append(cache, parent, prefix);
  EXPECT_EQ(cache.free_pages(), 12);

  const SequenceId left = cache.fork(parent);
  const SequenceId right = cache.fork(parent);
  EXPECT_EQ(cache.free_pages(), 12) << "a fork takes no page";

  std::vector<TokenRows> left_tokens = prefix;
  std::vector<TokenRows> more = tokens(config, 1);
  append(cache, left, more);
  extend(left_tokens, more);
  EXPECT_EQ(cache.free_pages(), 11) << "the first write copies one page";
  append(cache, left, more = tokens(config, 10));
  extend(left_tokens, more);
  EXPECT_EQ(cache.free_pages(), 11) << "the next write copies nothing";

  std::vector<TokenRows> right_tokens = prefix;
  append(cache, right, more = tokens(config, 30));
  extend(right_tokens, more);
  EXPECT_EQ(cache.free_pages(), 9) << "a copy and a new page";

  for (int page = 0; page < 3; ++page) {
    EXPECT_EQ(cache.page_table(left)[page], cache.page_table(parent)[page]);
    EXPECT_EQ(cache.page_table(right)[page], cache.page_table(parent)[page]);
  }
  const std::int32_t last_page = cache.page_table(parent)[3];
  append(cache, parent, more = tokens(config, 2));
  EXPECT_EQ(cache.page_table(parent)[3], last_page) << "the last owner writes in place";
  std::vector<TokenRows> parent_tokens = prefix;
  extend(parent_tokens, more);
  EXPECT_EQ(cache.free_pages(), 9);

  EXPECT_EQ(difference(cache, parent, parent_tokens), "");
  EXPECT_EQ(difference(cache, left, left_tokens), "");
  EXPECT_EQ(difference(cache, right, right_tokens), "");
  cache.release(parent);
  EXPECT_EQ(difference(cache, left, left_tokens), "");
  EXPECT_EQ(cache.free_pages(), 10);
}

TEST_F(KvCacheTest, AForkAtAPageEdgeCopiesNothing) {
  const KvCacheConfig config = small_config(DType::kF32, 64, 1024);
  KvCache cache(config);
  const SequenceId parent = cache.create();
  append(cache, parent, tokens(config, 128));
  const SequenceId child = cache.fork(parent);
  append(cache, child, tokens(config, 1));
  EXPECT_EQ(cache.free_pages(), 16 - 3);
}

TEST_F(KvCacheTest, AFullPoolLeavesTheSequenceIntactAndRecovers) {
  const KvCacheConfig config = small_config(DType::kBF16, 32, 128);
  KvCache cache(config);
  const SequenceId a = cache.create();
  const SequenceId b = cache.create();
  std::vector<TokenRows> a_tokens = tokens(config, 40);
  append(cache, a, a_tokens);
  append(cache, b, tokens(config, 64));
  std::string message;
  EXPECT_EQ(error_kind([&] { cache.reserve(a, 25); }, &message), Error::Kind::kOutOfCapacity);
  EXPECT_EQ(message.find('\n'), std::string::npos);
  EXPECT_NE(message.find("25 more tokens need 1 page"), std::string::npos) << message;
  EXPECT_NE(message.find("0 of 4 are free"), std::string::npos) << message;
  EXPECT_NE(message.find("128 tokens"), std::string::npos) << message;
  EXPECT_EQ(cache.reserved(a), 40);
  EXPECT_EQ(difference(cache, a, a_tokens), "");
  EXPECT_EQ(error_kind([&] { cache.reserve(a, std::numeric_limits<int>::max()); }),
            Error::Kind::kOutOfCapacity);

  const SequenceId child = cache.fork(a);
  EXPECT_EQ(error_kind([&] { cache.reserve(child, 1); }), Error::Kind::kOutOfCapacity)
      << "copying the shared page needs a page";
  EXPECT_EQ(difference(cache, child, a_tokens), "");

  cache.release(b);
  const std::vector<TokenRows> more = tokens(config, 1);
  append(cache, child, more);
  extend(a_tokens, more);
  EXPECT_EQ(difference(cache, child, a_tokens), "");
}

TEST_F(KvCacheTest, StaleAndForeignHandlesAreErrors) {
  KvCache cache(small_config());
  KvCache other(small_config());
  const SequenceId id = cache.create();
  const SequenceId stale = id;
  EXPECT_EQ(error_kind([&] { other.length(id); }), Error::Kind::kInvalidArgument);
  cache.release(id);
  const SequenceId next = cache.create();
  EXPECT_EQ(next.slot, stale.slot) << "the slot is used again, so the generation is what differs";
  EXPECT_EQ(error_kind([&] { cache.length(stale); }), Error::Kind::kInvalidArgument);
  EXPECT_EQ(error_kind([&] { cache.release(stale); }), Error::Kind::kInvalidArgument);
  EXPECT_EQ(error_kind([&] { cache.fork(stale); }), Error::Kind::kInvalidArgument);
  EXPECT_EQ(error_kind([&] { cache.page_table(stale); }), Error::Kind::kInvalidArgument);
  EXPECT_EQ(error_kind([&] { cache.length(SequenceId{}); }), Error::Kind::kInvalidArgument);
  EXPECT_EQ(error_kind([&] {
              cache.length(SequenceId{&cache, 1 << 30, 1});
            }),
            Error::Kind::kInvalidArgument);
  EXPECT_EQ(cache.length(next), 0);
}

TEST_F(KvCacheTest, SequencesAreLimited) {
  KvCache cache(small_config());
  for (int s = 0; s < 8; ++s) cache.create();
  std::string message;
  EXPECT_EQ(error_kind([&] { cache.create(); }, &message), Error::Kind::kOutOfCapacity);
  EXPECT_NE(message.find("all 8 sequences"), std::string::npos) << message;
}

TEST_F(KvCacheTest, OnlyReservedRowsCanBeWritten) {
  const KvCacheConfig config = small_config();
  KvCache cache(config);
  const SequenceId id = cache.create();
  append(cache, id, tokens(config, 40));
  cache.reserve(id, 10);
  const std::vector<float> rows(1000, 0.0f);
  const auto store = [&](int layer, int position, int n) {
    return error_kind([&] {
      cache.store_rows(layer, id, position, n, rows.data(), rows.data(),
                       config.kv_heads * config.head_dim);
    });
  };
  EXPECT_EQ(store(0, 39, 1), Error::Kind::kInvalidArgument);
  EXPECT_EQ(store(0, 45, 6), Error::Kind::kInvalidArgument);
  EXPECT_EQ(store(0, 40, -1), Error::Kind::kInvalidArgument);
  EXPECT_EQ(store(2, 40, 1), Error::Kind::kInvalidArgument);
  EXPECT_EQ(error_kind([&] { cache.commit(id, 11); }), Error::Kind::kInvalidArgument);
  EXPECT_EQ(error_kind([&] { cache.fork(id); }), Error::Kind::kInvalidArgument);
  EXPECT_EQ(error_kind([&] { cache.block(0, id, 0, 0); }), Error::Kind::kInvalidArgument);
  EXPECT_EQ(error_kind([&] { cache.block(0, id, 0, 1); }), Error::Kind::kInvalidArgument);
  EXPECT_EQ(error_kind([&] { cache.block(0, id, 3, 1); }), Error::Kind::kInvalidArgument);
  cache.reserve(id, 24);
  cache.block(0, id, 2, 1);
  cache.truncate(id, 40);
  EXPECT_EQ(cache.reserved(id), 40);
  EXPECT_EQ(error_kind([&] { cache.truncate(id, 41); }), Error::Kind::kInvalidArgument);
  EXPECT_EQ(error_kind([&] { cache.reserve(id, -1); }), Error::Kind::kInvalidArgument);
}

TEST_F(KvCacheTest, TruncatedSharedPagesAreCopiedBeforeTheyAreRewritten) {
  const KvCacheConfig config = small_config(DType::kBF16, 64, 1024);
  KvCache cache(config);
  std::vector<TokenRows> original = tokens(config, 128);
  const SequenceId parent = cache.create();
  append(cache, parent, original);
  const SequenceId child = cache.fork(parent);
  cache.truncate(child, 70);
  std::vector<TokenRows> child_tokens(original.begin(), original.begin() + 70);
  const std::vector<TokenRows> more = tokens(config, 40);
  append(cache, child, more);
  extend(child_tokens, more);
  EXPECT_EQ(difference(cache, parent, original), "");
  EXPECT_EQ(difference(cache, child, child_tokens), "");
  EXPECT_EQ(cache.page_table(child)[0], cache.page_table(parent)[0]);
}

TEST_F(KvCacheTest, InfinitiesAndNaNAreStoredAsTheyAre) {
  for (DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    const KvCacheConfig config = small_config(dtype);
    KvCache cache(config);
    std::vector<TokenRows> rows = tokens(config, 35);
    for (int t = 0; t < 35; ++t) {
      rows[t].keys[t % 48] = std::numeric_limits<float>::infinity();
      rows[t].keys[(t + 1) % 48] = -std::numeric_limits<float>::infinity();
      rows[t].values[t % 48] = std::numeric_limits<float>::quiet_NaN();
      rows[t].values[(t + 1) % 48] = std::bit_cast<float>(0x7f800001u);
      rows[t].values[(t + 2) % 48] = std::bit_cast<float>(0xffffffffu);
    }
    const SequenceId id = cache.create();
    append(cache, id, rows);
    EXPECT_EQ(difference(cache, id, rows), "") << name(dtype);
  }
}

TEST_F(KvCacheTest, AddressesNeverMove) {
  const KvCacheConfig config = small_config(DType::kF32, 64, 1024);
  KvCache cache(config);
  BatchTables tables(cache, 2);
  const SequenceId id = cache.create();
  append(cache, id, tokens(config, 1));
  const SequenceId ids[] = {id, id};
  tables.fill(cache, ids, 0);
  const KvView before = cache.view(1, tables);
  append(cache, id, tokens(config, 1000));
  tables.fill(cache, ids, 0);
  const KvView after = cache.view(1, tables);
  EXPECT_EQ(before.keys, after.keys);
  EXPECT_EQ(before.values, after.values);
  EXPECT_EQ(before.page_table, after.page_table);
  EXPECT_EQ(before.lengths, after.lengths);
  EXPECT_EQ(after.sequences, 2);
  EXPECT_EQ(after.lengths[1], 1001);
  EXPECT_EQ(tables.longest(), 1001);
}

TEST_F(KvCacheTest, BatchTablesCountPendingRowsAndCheckTheirInput) {
  const KvCacheConfig config = small_config();
  KvCache cache(config);
  KvCache other(config);
  BatchTables tables(cache, 1);
  const SequenceId id = cache.create();
  append(cache, id, tokens(config, 64));
  cache.reserve(id, 2);
  const SequenceId one[] = {id};
  const SequenceId two[] = {id, id};
  tables.fill(cache, one, 2);
  EXPECT_EQ(tables.lengths()[0], 66);
  EXPECT_EQ(cache.view(0, tables).page_table[1], cache.page_table(id)[1]);
  EXPECT_EQ(error_kind([&] { tables.fill(cache, one, 3); }), Error::Kind::kInvalidArgument);
  EXPECT_EQ(error_kind([&] { tables.fill(cache, one, -1); }), Error::Kind::kInvalidArgument);
  EXPECT_EQ(error_kind([&] { tables.fill(cache, two, 0); }), Error::Kind::kInvalidArgument);
  EXPECT_EQ(error_kind([&] { tables.fill(other, one, 0); }), Error::Kind::kInvalidArgument);
  EXPECT_EQ(error_kind([&] { other.view(0, tables); }), Error::Kind::kInvalidArgument);
  EXPECT_EQ(error_kind([&] { BatchTables(cache, 0); }), Error::Kind::kInvalidArgument);
  tables.fill(cache, {}, 0);
  EXPECT_EQ(tables.longest(), 0);
}

TEST_F(KvCacheTest, FilledBlocksAreThoseWhoseLastRowIsStored) {
  for (int position = 0; position < 100; ++position) {
    for (int n = 0; n < 100; ++n) {
      const BlockRange range = filled_blocks(position, n);
      for (int block = 0; block < 8; ++block) {
        const int last_row = block * kBlockSize + kBlockSize - 1;
        ASSERT_EQ(block >= range.begin && block < range.end,
                  last_row >= position && last_row < position + n)
            << position << " " << n << " " << block;
      }
    }
  }
}

TEST_F(KvCacheTest, PinnedBlocksAreTheSequencesOwn) {
  KvCache cache(small_config());
  Rng rng(1);
  std::vector<TokenRows> tokens;
  for (int t = 0; t < 200; ++t) tokens.push_back(random_token(cache.config(), rng));
  const SequenceId id = cache.create();
  append(cache, id, tokens);
  const auto blocks_of = [&](SequenceId sequence, int layer, int head) {
    const std::span<const std::int32_t> list = cache.pinned(sequence)[layer * 3 + head].list();
    return std::vector<std::int32_t>(list.begin(), list.end());
  };
  EXPECT_TRUE(blocks_of(id, 1, 2).empty());
  cache.pin(id, 1, 2, {.count = 3, .blocks = {1, 3, 5}, .masses = {0.5f, 0.2f, 0.1f}});
  EXPECT_EQ(blocks_of(id, 1, 2), (std::vector<std::int32_t>{1, 3, 5}));
  EXPECT_TRUE(blocks_of(id, 1, 1).empty());

  const SequenceId copy = cache.fork(id);
  cache.truncate(copy, 191);  // cuts block 5
  EXPECT_EQ(blocks_of(copy, 1, 2), (std::vector<std::int32_t>{1, 3}));
  cache.truncate(copy, 128);
  EXPECT_EQ(blocks_of(copy, 1, 2), (std::vector<std::int32_t>{1, 3}));
  cache.truncate(copy, 127);
  EXPECT_EQ(blocks_of(copy, 1, 2), (std::vector<std::int32_t>{1}));
  EXPECT_EQ(blocks_of(id, 1, 2), (std::vector<std::int32_t>{1, 3, 5}));

  const SequenceId batch[] = {copy, id};
  BatchTables tables(cache, 2);
  tables.fill(cache, batch, 0);
  EXPECT_EQ(tables.pinned(0, 1, 2).count, 1);
  EXPECT_EQ(tables.pinned(1, 1, 2).count, 3);
  EXPECT_EQ(tables.pinned(1, 1, 2).blocks[2], 5);
  EXPECT_EQ(tables.pinned(1, 0, 2).count, 0);

  cache.release(copy);
  EXPECT_TRUE(blocks_of(cache.create(), 1, 2).empty());

  const auto refused = [&](const PinnedBlocks& blocks) {
    return error_kind([&] { cache.pin(id, 0, 0, blocks); }) == Error::Kind::kInvalidArgument;
  };
  EXPECT_TRUE(refused({.count = 1, .blocks = {6}}));  // 200 rows: block 6 is not full
  EXPECT_TRUE(refused({.count = 1, .blocks = {-1}}));
  EXPECT_TRUE(refused({.count = 2, .blocks = {3, 3}}));
  EXPECT_TRUE(refused({.count = kMaxPinnedBlocks + 1}));
}

TEST_F(KvCacheTest, ImpossibleConfigurationsAreRefused) {
  const auto kind = [](auto&& change, std::string_view field) {
    KvCacheConfig config = small_config();
    change(config);
    std::string message;
    const Error::Kind result = error_kind([&] { KvCache cache(config); }, &message);
    EXPECT_NE(message.find(field), std::string::npos) << message;
    EXPECT_EQ(message.find('\n'), std::string::npos);
    return result;
  };
  constexpr int kHuge = std::numeric_limits<int>::max();
  constexpr auto kInvalid = Error::Kind::kInvalidArgument;
  EXPECT_EQ(kind([](auto& c) { c.layers = 0; }, "layers"), kInvalid);
  EXPECT_EQ(kind([](auto& c) { c.kv_heads = -1; }, "kv_heads"), kInvalid);
  EXPECT_EQ(kind([](auto& c) { c.head_dim = kHuge; }, "head_dim"), kInvalid);
  EXPECT_EQ(kind([](auto& c) { c.max_sequences = 0; }, "max_sequences"), kInvalid);
  EXPECT_EQ(kind([](auto& c) { c.page_size = 48; }, "page_size"), kInvalid);
  EXPECT_EQ(kind([](auto& c) { c.dtype = DType::kF8E4M3; }, "dtype"), kInvalid);
  EXPECT_EQ(kind([](auto& c) { c.sketch_bits = 3; }, "sketch_bits"), kInvalid);
  EXPECT_EQ(kind([](auto& c) { c.sketch_bits = 2; }, "head_dim is 8"), kInvalid);
  EXPECT_EQ(kind([](auto& c) { c.capacity_tokens = 0; }, "capacity_tokens"), kInvalid);
  EXPECT_EQ(kind([](auto& c) { c.capacity_tokens = std::int64_t{1} << 40; }, "capacity_tokens"),
            kInvalid);
  EXPECT_EQ(kind(
                [](auto& c) {
                  c.layers = c.kv_heads = c.head_dim = 1 << 16;
                  c.capacity_tokens = 1 << 30;
                },
                "keys"),
            kInvalid);
  EXPECT_EQ(kind(
                [](auto& c) {
                  c.layers = 1 << 8;
                  c.kv_heads = 1 << 8;
                  c.head_dim = 1 << 8;
                  c.capacity_tokens = 1 << 24;
                },
                "keys"),
            kInvalid);
}

TEST_F(KvCacheTest, CapacityIsRoundedUpToPagesAndBytesAreCounted) {
  KvCacheConfig config = small_config(DType::kBF16, 64, 65);
  KvCache cache(config);
  EXPECT_EQ(cache.pages(), 2);
  const std::int64_t rows = 2 * 64 * 8 * 2;      // K and V of a page and head
  const std::int64_t moments = 2 * (2 * 8 + 4);  // two blocks
  EXPECT_EQ(cache.bytes_per_page(), 2 * 3 * (rows + moments));

  config.head_dim = 16;
  config.sketch_bits = 2;
  const std::int64_t wide_rows = 2 * 64 * 16 * 2;
  const std::int64_t wide_moments = 2 * (2 * 16 + 4);
  const std::int64_t sketches = 64 * (16 / 4 + 2);
  EXPECT_EQ(KvCache(config).bytes_per_page(), 2 * 3 * (wide_rows + wide_moments + sketches));
  config.sketch_bits = 4;
  const std::int64_t with_misses = 64 * (16 / 2 + 4);
  EXPECT_EQ(KvCache(config).bytes_per_page(), 2 * 3 * (wide_rows + wide_moments + with_misses));
  config.key_boxes = true;
  const std::int64_t boxes = 2 * (2 * 16 * 2);
  EXPECT_EQ(KvCache(config).bytes_per_page(),
            2 * 3 * (wide_rows + wide_moments + with_misses + boxes));
}

}  // namespace
}  // namespace sinkrouter::test
