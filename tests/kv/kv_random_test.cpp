#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>

#include "kv/cache_fixture.h"

namespace sinkrouter::test {
namespace {

struct Model {
  SequenceId id;
  std::vector<TokenRows> tokens;
};

int pages_used(const KvCache& cache, const std::vector<Model>& models) {
  std::set<std::int32_t> used;
  for (const Model& model : models) {
    for (std::int32_t page : cache.page_table(model.id)) used.insert(page);
  }
  return static_cast<int>(used.size());
}

// Random creates, forks, appends, truncates and releases against plain vectors of rows.
void run_random_operations(const KvCacheConfig& config, std::uint64_t seed, int operations) {
  Rng rng(seed);
  KvCache cache(config);
  std::vector<Model> models;
  int refused = 0;
  for (int step = 0; step < operations; ++step) {
    const auto pick = [&]() -> Model& { return models[rng.below(models.size())]; };
    const std::uint64_t action = rng.below(10);
    if (models.empty() || action == 0) {
      if (static_cast<int>(models.size()) == config.max_sequences) continue;
      models.push_back({cache.create(), {}});
    } else if (action == 1) {
      if (static_cast<int>(models.size()) == config.max_sequences) continue;
      const Model& source = pick();
      models.push_back({cache.fork(source.id), source.tokens});
    } else if (action == 2) {
      const std::size_t index = rng.below(models.size());
      cache.release(models[index].id);
      models.erase(models.begin() + static_cast<std::ptrdiff_t>(index));
    } else if (action == 3) {
      Model& model = pick();
      const auto length = static_cast<int>(rng.below(model.tokens.size() + 1));
      cache.truncate(model.id, length);
      model.tokens.resize(length);
    } else {
      Model& model = pick();
      const auto n = static_cast<int>(rng.below(action == 4 ? 150 : 40));
      std::vector<TokenRows> tokens;
      for (int t = 0; t < n; ++t) tokens.push_back(random_token(config, rng));
      const int free_before = cache.free_pages();
      const std::vector<std::int32_t> table_before(cache.page_table(model.id).begin(),
                                                   cache.page_table(model.id).end());
      try {
        append(cache, model.id, tokens);
        model.tokens.insert(model.tokens.end(), tokens.begin(), tokens.end());
      } catch (const Error& error) {
        ASSERT_EQ(error.kind(), Error::Kind::kOutOfCapacity) << error.what();
        ++refused;
        ASSERT_EQ(cache.free_pages(), free_before);
        ASSERT_TRUE(std::ranges::equal(cache.page_table(model.id), table_before));
      }
      ASSERT_EQ(difference(cache, model.id, model.tokens), "") << "step " << step;
    }
    ASSERT_EQ(cache.free_pages() + pages_used(cache, models), cache.pages()) << "step " << step;
    ASSERT_EQ(cache.sequences(), static_cast<int>(models.size()));
    if (step % 16 == 0) {
      for (const Model& model : models) ASSERT_EQ(difference(cache, model.id, model.tokens), "");
    }
  }
  for (const Model& model : models) {
    ASSERT_EQ(difference(cache, model.id, model.tokens), "");
    cache.release(model.id);
  }
  EXPECT_EQ(cache.free_pages(), cache.pages());
  EXPECT_GT(refused, 0) << "the pool never filled: the test does not test that";
}

class KvRandomTest : public testing::TestWithParam<std::tuple<DType, int, int>> {};

TEST_P(KvRandomTest, BehavesAsVectorsOfRows) {
  const auto [dtype, page_size, sketch_bits] = GetParam();
  const std::uint64_t seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  KvCacheConfig config = small_config(dtype, page_size, 5 * page_size + 300);
  if (sketch_bits != 0) config.head_dim = 16;
  config.sketch_bits = sketch_bits;
  config.key_boxes = sketch_bits != 0;
  run_random_operations(config, seed, 400);
}

std::string param_name(const testing::TestParamInfo<KvRandomTest::ParamType>& info) {
  const auto [dtype, page_size, sketch_bits] = info.param;
  return std::string(name(dtype)) + "_" + std::to_string(page_size) + "_" +
         std::to_string(sketch_bits);
}

INSTANTIATE_TEST_SUITE_P(DtypesAndPages, KvRandomTest,
                         testing::Combine(testing::Values(DType::kF32, DType::kBF16, DType::kF16),
                                          testing::Values(32, 64, 128, 256), testing::Values(0)),
                         param_name);
INSTANTIATE_TEST_SUITE_P(Sketches, KvRandomTest,
                         testing::Combine(testing::Values(DType::kBF16), testing::Values(32, 128),
                                          testing::Values(2, 4)),
                         param_name);

}  // namespace
}  // namespace sinkrouter::test
