#include <algorithm>
#include <cmath>
#include <limits>

#include "base/dtype.h"
#include "kernels/harness.h"
#include "kernels/paged_cache.h"
#include "kernels/paging.h"
#include "kernels/reference/reference.h"

namespace sinkrouter::kernel_tests {
namespace {

// Random sketches and moments of the listed blocks; those of others would show as NaN.
class SketchedCache {
 public:
  SketchedCache(const CacheShape& shape, int bits, Rng& rng)
      : cache_(shape, rng), lists_(cache_.view(), kBlockSize) {
    const KvView& kv = cache_.view();
    const int pages =
        *std::max_element(kv.page_table, kv.page_table + kv.sequences * kv.page_table_stride) + 1;
    const std::int64_t blocks = std::int64_t{pages} * kv.kv_heads * (kv.page_size / kBlockSize);
    words_ = kv.head_dim * bits / 32 * kBlockSize;
    codes_.assign(blocks * words_, 0xffffffffu);
    scales_.assign(blocks * kBlockSize, Float16{0x7e00});
    moments_.assign(blocks * 2 * kv.head_dim, 0x7e);
    moment_scales_.assign(blocks, std::numeric_limits<float>::quiet_NaN());
    bits_ = bits;
  }

  void list(int sequence, int kv_head, double share, Rng& rng) {
    const KvView& kv = cache_.view();
    lists_.choose(sequence, kv_head, share, rng);
    const std::int32_t* list = lists_.view().list(sequence, kv_head, kv.kv_heads);
    std::int32_t& count = lists_.view().counts[sequence * kv.kv_heads + kv_head];
    const int full = kv.lengths[sequence] / kBlockSize;
    while (count > 0 && list[count - 1] >= full) --count;
    for (int j = 0; j < count; ++j) fill(moments_index(kv, sequence, kv_head, list[j]), rng);
  }

  RowScoresParams params() const {
    RowScoresParams params;
    params.kv = cache_.view();
    params.kv.keys = nullptr;
    params.kv.values = nullptr;
    params.moments = {moments_.data(), moment_scales_.data()};
    params.sketches.bits = bits_;
    params.sketches.codes = codes_.data();
    params.sketches.scales = scales_.data();
    params.blocks = lists_.view();
    return params;
  }

  void fill_codes(std::uint32_t code) { std::fill(codes_.begin(), codes_.end(), code); }
  void fill_scales(float scale) {
    std::fill(scales_.begin(), scales_.end(), from_float<Float16>(scale));
  }
  void poison_scales(double share, Rng& rng) {
    for (Float16& scale : scales_) {
      if (rng.uniform() < share) scale = Float16{0x7e00};
    }
  }
  void fill_moment_scales(float scale) {
    std::fill(moment_scales_.begin(), moment_scales_.end(), scale);
  }

 private:
  void fill(std::int64_t index, Rng& rng) {
    const int dim = cache_.view().head_dim;
    for (std::int64_t i = 0; i < words_; ++i) {
      codes_[index * words_ + i] = static_cast<std::uint32_t>(rng.next());
    }
    for (int row = 0; row < kBlockSize; ++row) {
      scales_[index * kBlockSize + row] =
          from_float<Float16>(static_cast<float>(2.0 * rng.uniform()));
    }
    for (int c = 0; c < dim; ++c) {
      const auto code = static_cast<std::uint8_t>(rng.below(256));
      moments_[index * 2 * dim + c] = (code & 0x7f) == 0x7f ? 0 : code;
    }
    moment_scales_[index] = static_cast<float>(0.02 * rng.uniform());
  }

  PagedCache cache_;
  Lists lists_;
  int bits_ = 2;
  std::int64_t words_ = 0;  // of a block
  std::vector<std::uint32_t> codes_;
  std::vector<Float16> scales_;
  std::vector<std::uint8_t> moments_;
  std::vector<float> moment_scales_;
};

class RowScores : public KernelTest {
 protected:
  CacheShape random_shape() {
    CacheShape shape;
    shape.page_size = one_of({32, 64, 128});
    shape.kv_heads = between(1, 3);
    shape.head_dim = one_of({64, 80, 96, 128});
    const int sequences = between(1, 3);
    for (int s = 0; s < sequences; ++s) {
      shape.lengths.push_back(one_of({0, 1, 31, 32, 33, 64, 65, between(0, 2500)}));
    }
    return shape;
  }

  SketchedCache random_cache(const CacheShape& shape, int bits) {
    SketchedCache cache(shape, bits, rng);
    for (int s = 0; s < static_cast<int>(shape.lengths.size()); ++s) {
      for (int h = 0; h < shape.kv_heads; ++h) {
        cache.list(s, h, one_of({0.0, 0.1, 0.5, 1.0}), rng);
      }
    }
    return cache;
  }

  // Queries with random codes: the kernel takes them as they come.
  void random_queries(RowScoresParams& params, int group) {
    params.q_heads = params.kv.kv_heads * group;
    const std::int64_t rows = std::int64_t{params.kv.sequences} * params.q_heads;
    queries = normals(rows * params.kv.head_dim);
    codes.resize(rows * params.kv.head_dim);
    for (std::int8_t& code : codes) code = static_cast<std::int8_t>(between(-127, 127));
    steps.resize(rows);
    for (float& step : steps) step = static_cast<float>(0.03 * rng.uniform());
    params.queries = queries.data();
    params.query_codes = codes.data();
    params.query_steps = steps.data();
    params.scale = 0.125f;
  }

  // Against the reference; scores past the lists stay as they are.
  void check(RowScoresParams params, double tolerance) {
    const KvView& kv = params.kv;
    const std::int64_t rows = std::int64_t{kv.sequences} * params.q_heads;
    const std::int32_t* counts = params.blocks.counts;
    params.score_stride =
        (*std::max_element(counts, counts + kv.sequences * kv.kv_heads)) * kBlockSize + 7;
    Guarded<float> expected(rows * params.score_stride);
    params.scores = expected.data();
    reference::row_scores(params);
    Guarded<float> scores(rows * params.score_stride);
    params.scores = scores.data();
    backend().row_scores(params);
    EXPECT_TRUE(close(scores.span(), expected.span(), tolerance));
    EXPECT_TRUE(scores.guards_intact());
    for (std::int64_t row = 0; row < rows; ++row) {
      const std::int64_t group = params.q_heads / kv.kv_heads;
      const std::int64_t end = std::int64_t{counts[row / group]} * kBlockSize;
      for (std::int64_t at = 0; at < params.score_stride; ++at) {
        ASSERT_EQ(scores.untouched(row * params.score_stride + at), at >= end);
      }
    }
  }

  std::vector<float> queries;
  std::vector<std::int8_t> codes;
  std::vector<float> steps;
};

TEST_P(RowScores, MatchesReference) {
  for (int i = 0; i < 12; ++i) {
    const int bits = one_of({2, 4});
    const SketchedCache cache = random_cache(random_shape(), bits);
    RowScoresParams params = cache.params();
    random_queries(params, one_of({1, 2, 3, 4, 5, 7, 8, 15, 16, 18}));
    SCOPED_TRACE("bits " + std::to_string(bits) + " d " + std::to_string(params.kv.head_dim) +
                 " group " + std::to_string(params.q_heads / params.kv.kv_heads));
    check(params, 1e-5);
  }
}

TEST_P(RowScores, LongListsAreSharedOut) {
  CacheShape shape = random_shape();
  shape.lengths = {9000, 0, 40};
  SketchedCache cache = random_cache(shape, 2);
  cache.list(0, 0, 0.9, rng);
  RowScoresParams params = cache.params();
  random_queries(params, 4);
  check(params, 1e-5);
}

// Whatever the codes, sums of products lose nothing: largest and smallest, and random ones.
TEST_P(RowScores, IntegerPartIsExact) {
  for (int bits : {2, 4}) {
    for (int dim : {64, 80, 96, 128}) {
      CacheShape shape = random_shape();
      shape.head_dim = dim;
      shape.lengths = {between(65, 400)};
      for (int kind = 0; kind < 3; ++kind) {
        SketchedCache cache = random_cache(shape, bits);
        for (int h = 0; h < shape.kv_heads; ++h) cache.list(0, h, 1.0, rng);
        if (kind > 0) cache.fill_codes(kind == 1 ? 0xffffffffu : 0u);
        cache.fill_scales(1.0f);
        cache.fill_moment_scales(0.0f);
        RowScoresParams params = cache.params();
        random_queries(params, one_of({1, 2, 3, 4, 8, 9}));
        if (kind > 0) {
          const std::int8_t code = one_of<std::int8_t>({127, -127});
          std::fill(codes.begin(), codes.end(), code);
        }
        std::fill(queries.begin(), queries.end(), 0.0f);
        std::fill(steps.begin(), steps.end(), 1.0f);
        params.scale = 1.0f;
        check(params, 0);
      }
    }
  }
}

TEST_P(RowScores, WhatIsNotFiniteShowsWhereTheReferenceShowsIt) {
  CacheShape shape = random_shape();
  shape.lengths = {between(65, 700), between(32, 700)};
  for (int i = 0; i < 4; ++i) {
    SketchedCache cache = random_cache(shape, one_of({2, 4}));
    cache.poison_scales(0.1, rng);
    RowScoresParams params = cache.params();
    random_queries(params, one_of({1, 3, 4, 8}));
    steps[rng.below(steps.size())] = std::numeric_limits<float>::quiet_NaN();
    check(params, 1e-5);
  }
}

INSTANTIATE_TEST_SUITE_P(All, RowScores, testing::ValuesIn(all_backends()), backend_name);

}  // namespace
}  // namespace sinkrouter::kernel_tests
