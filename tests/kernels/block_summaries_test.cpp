#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>

#include "base/dtype.h"
#include "kernels/harness.h"
#include "kernels/paged_cache.h"
#include "kernels/reference/reference.h"

namespace sinkrouter::kernel_tests {
namespace {

class BlockSummaries : public KernelTest {
 protected:
  CacheShape random_shape() {
    CacheShape shape;
    shape.dtype = one_of({DType::kF32, DType::kBF16, DType::kF16});
    shape.page_size = one_of({32, 64, 128});
    shape.kv_heads = between(1, 3);
    shape.head_dim = one_of({64, 80, 96, 128});
    const int sequences = between(1, 3);
    for (int s = 0; s < sequences; ++s) {
      shape.lengths.push_back(one_of({0, 1, 31, 32, 33, 64, 65, between(0, 1500)}));
    }
    return shape;
  }
};

TEST_P(BlockSummaries, RowLogits) {
  for (int i = 0; i < 6; ++i) {
    const CacheShape shape = random_shape();
    PagedCache cache(shape, rng);
    cache.fill_all(one_of({0.1f, 2.0f}), rng);
    const KvView& kv = cache.view();
    const int q_heads = kv.kv_heads * one_of({1, 2, 3, 4, 8, 17});
    const std::int64_t rows = std::int64_t{kv.sequences} * q_heads;
    const std::vector<float> queries = normals(rows * kv.head_dim);
    RowLogitsParams params;
    params.queries = queries.data();
    params.q_heads = q_heads;
    params.scale = 0.125f;
    params.kv = kv;
    params.logit_stride = *std::max_element(shape.lengths.begin(), shape.lengths.end()) + 5;
    Guarded<float> expected(rows * params.logit_stride);
    params.logits = expected.data();
    reference::row_logits(params);
    Guarded<float> logits(rows * params.logit_stride);
    params.logits = logits.data();
    backend().row_logits(params);
    EXPECT_TRUE(close(logits.span(), expected.span(), 1e-5));
    EXPECT_TRUE(logits.guards_intact());
    for (std::int64_t row = 0; row < rows; ++row) {
      const std::int64_t length = shape.lengths[row / q_heads];
      for (std::int64_t at = length; at < params.logit_stride; ++at) {
        ASSERT_TRUE(logits.untouched(row * params.logit_stride + at));
      }
    }
  }
}

TEST_P(BlockSummaries, BlockScores) {
  for (int i = 0; i < 6; ++i) {
    const CacheShape shape = random_shape();
    const PagedCache cache(shape, rng);
    const KvView& kv = cache.view();
    const int q_heads = kv.kv_heads * one_of({1, 2, 3, 4, 8, 17});
    const std::int64_t rows = std::int64_t{kv.sequences} * q_heads;
    const std::vector<float> queries = normals(rows * kv.head_dim);
    const int pages =
        *std::max_element(kv.page_table, kv.page_table + kv.sequences * kv.page_table_stride) + 1;
    const std::int64_t blocks = std::int64_t{pages} * kv.kv_heads * (kv.page_size / kBlockSize);
    std::vector<std::uint8_t> codes(blocks * 2 * kv.head_dim);
    for (std::uint8_t& code : codes) {
      code = static_cast<std::uint8_t>(rng.below(256));
      if ((code & 0x7f) == 0x7f) code ^= 1;  // NaN does not occur
    }
    std::vector<float> scales(blocks);
    for (float& scale : scales) scale = static_cast<float>(0.02 * rng.uniform());
    BlockScoresParams params;
    params.queries = queries.data();
    params.q_heads = q_heads;
    params.scale = 0.125f;
    params.kv = kv;
    params.kv.keys = nullptr;
    params.kv.values = nullptr;
    params.moments = {codes.data(), scales.data()};
    params.score_stride =
        *std::max_element(shape.lengths.begin(), shape.lengths.end()) / kBlockSize + 3;
    Guarded<float> expected(rows * params.score_stride);
    params.scores = expected.data();
    reference::block_scores(params);
    Guarded<float> scores(rows * params.score_stride);
    params.scores = scores.data();
    backend().block_scores(params);
    EXPECT_TRUE(close(scores.span(), expected.span(), 1e-5));
    EXPECT_TRUE(scores.guards_intact());
  }
}

// Every e4m3 code, subnormal ones too, decodes to its value.
TEST_P(BlockSummaries, EveryCode) {
  constexpr int kDim = 64;
  const std::int32_t page = 0;
  const std::int32_t length = kBlockSize;
  const float scale = 1.0f;
  for (int code = 0; code < 256; ++code) {
    if ((code & 0x7f) == 0x7f) continue;
    std::vector<std::uint8_t> codes(2 * kDim, 0);
    codes[code % kDim] = static_cast<std::uint8_t>(code);
    std::vector<float> query(kDim, 1.0f);
    BlockScoresParams params;
    params.queries = query.data();
    params.q_heads = 1;
    params.scale = 1.0f;
    params.kv.page_size = kBlockSize;
    params.kv.kv_heads = 1;
    params.kv.head_dim = kDim;
    params.kv.sequences = 1;
    params.kv.page_table = &page;
    params.kv.page_table_stride = 1;
    params.kv.lengths = &length;
    params.moments = {codes.data(), &scale};
    float score = 0;
    params.scores = &score;
    params.score_stride = 1;
    backend().block_scores(params);
    const float value = to_float(Float8E4M3{static_cast<std::uint8_t>(code)});
    ASSERT_NEAR(score, std::log(32.0f) + value, 1e-6f * (4 + std::fabs(value))) << code;
  }
}

TEST_P(BlockSummaries, Moments) {
  for (int i = 0; i < 12; ++i) {
    BlockMomentsParams params;
    params.dtype = one_of({DType::kF32, DType::kBF16, DType::kF16});
    params.head_dim = one_of({64, 80, 96, 128});
    params.token_stride = params.head_dim + one_of({0, 16});
    std::vector<float> rows(kBlockSize * params.token_stride);
    const bool constant = i == 0;
    for (float& x : rows) x = constant ? 0.0f : 0.5f + rng.normal();
    const std::vector<std::byte> keys = stored(rows, params.dtype);
    params.keys = keys.data();

    std::vector<std::uint8_t> expected(2 * params.head_dim);
    float expected_scale = 0;
    params.codes = expected.data();
    params.scale = &expected_scale;
    reference::block_moments(params);
    Guarded<std::uint8_t> codes(2 * params.head_dim);
    Guarded<float> scale(1);
    params.codes = codes.data();
    params.scale = scale.data();
    backend().block_moments(params);

    ASSERT_NEAR(scale.data()[0], expected_scale, 1e-6f * expected_scale);
    EXPECT_TRUE(codes.guards_intact() && scale.guards_intact());
    // A value next to the middle between two codes may round either way.
    int different = 0;
    for (int c = 0; c < 2 * params.head_dim; ++c) {
      const int step = std::abs(codes.data()[c] - expected[c]);
      ASSERT_LE(step, 1);
      different += step;
    }
    EXPECT_LE(different, 2);
  }
}

TEST_P(BlockSummaries, MomentsOfWhatIsNotFiniteSaySo) {
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
        -std::numeric_limits<float>::infinity()}) {
    BlockMomentsParams params;
    params.dtype = one_of({DType::kF32, DType::kBF16, DType::kF16});
    params.head_dim = one_of({64, 80, 96, 128});
    params.token_stride = params.head_dim;
    std::vector<float> rows = normals(kBlockSize * params.token_stride);
    rows[rng.below(rows.size())] = bad;
    const std::vector<std::byte> keys = stored(rows, params.dtype);
    params.keys = keys.data();
    std::vector<std::uint8_t> codes(2 * params.head_dim, 1);
    float scale = 0;
    params.codes = codes.data();
    params.scale = &scale;
    backend().block_moments(params);
    EXPECT_TRUE(std::isnan(scale));
    scale = 0;
    reference::block_moments(params);
    EXPECT_TRUE(std::isnan(scale));
  }
}

INSTANTIATE_TEST_SUITE_P(All, BlockSummaries, testing::ValuesIn(all_backends()), backend_name);

}  // namespace
}  // namespace sinkrouter::kernel_tests
