#include "kernels/reference/reference.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/dtype.h"
#include "kernels/paged_cache.h"

// The reference against results known without it.
namespace sinkrouter::kernel_tests {
namespace {

class TinyCache {
 public:
  explicit TinyCache(int length)
      : length_(length), keys_(32 * kDim, 0.0f), values_(32 * kDim, 0.0f) {
    view.keys = keys_.data();
    view.values = values_.data();
    view.dtype = DType::kF32;
    view.page_stride = 32 * kDim;
    view.head_stride = 32 * kDim;
    view.token_stride = kDim;
    view.page_size = 32;
    view.kv_heads = 1;
    view.head_dim = kDim;
    view.sequences = 1;
    view.page_table = &page_;
    view.page_table_stride = 1;
    view.lengths = &length_;
  }
  TinyCache(const TinyCache&) = delete;
  TinyCache& operator=(const TinyCache&) = delete;

  float& key(int token, int c) { return keys_[token * kDim + c]; }
  float& value(int token, int c) { return values_[token * kDim + c]; }

  static constexpr int kDim = 2;
  KvView view;

 private:
  std::int32_t page_ = 0;
  std::int32_t length_;
  std::vector<float> keys_;
  std::vector<float> values_;
};

TEST(Reference, DecodeWeighsTwoRowsByTheirLogits) {
  TinyCache cache(3);
  cache.key(0, 0) = std::log(3.0f);  // logits log 3 and 0: weights 3/4 and 1/4
  cache.value(0, 0) = 8.0f;
  cache.value(2, 1) = 4.0f;
  cache.value(1, 0) = 1000.0f;  // not on the list
  const float query[] = {1.0f, 0.0f};
  std::int32_t granules[] = {0, 2};
  std::int32_t count = 2;
  float output[2];
  float lse;
  DecodeAttentionParams params;
  params.queries = query;
  params.q_heads = 1;
  params.scale = 1.0f;
  params.kv = cache.view;
  params.lists = {granules, &count, 2, 1};
  params.output = output;
  params.lse = &lse;
  reference::decode_attention(params);
  EXPECT_FLOAT_EQ(output[0], 6.0f);
  EXPECT_FLOAT_EQ(output[1], 1.0f);
  EXPECT_FLOAT_EQ(lse, std::log(4.0f));
}

TEST(Reference, PrefillSeesOnlyThePast) {
  TinyCache cache(3);
  for (int token = 0; token < 3; ++token) cache.value(token, 0) = static_cast<float>(token);
  const std::vector<float> queries(4, 0.0f);  // equal weights
  float output[4];
  PrefillAttentionParams params;
  params.queries = queries.data();
  params.tokens = 2;
  params.first_position = 1;
  params.q_heads = 1;
  params.scale = 1.0f;
  params.kv = cache.view;
  params.output = output;
  reference::prefill_attention(params);
  EXPECT_FLOAT_EQ(output[0], 0.5f);
  EXPECT_FLOAT_EQ(output[2], 1.0f);
}

// The estimate is exact when every row of a block is the same.
TEST(Reference, ScoreOfEqualRowsIsTheirLogMass) {
  TinyCache cache(32);
  for (int token = 0; token < 32; ++token) {
    cache.key(token, 0) = 0.5f;
    cache.key(token, 1) = -0.25f;
  }
  std::uint8_t codes[4];
  float scale = 0;
  BlockMomentsParams moments;
  moments.keys = cache.view.keys;
  moments.dtype = DType::kF32;
  moments.token_stride = 2;
  moments.head_dim = 2;
  moments.codes = codes;
  moments.scale = &scale;
  reference::block_moments(moments);
  EXPECT_FLOAT_EQ(scale, 0.5f / 448.0f);
  EXPECT_EQ(codes[2], 0);
  EXPECT_EQ(codes[3], 0);

  const float query[] = {2.0f, 1.0f};
  float score = 0;
  BlockScoresParams params;
  params.queries = query;
  params.q_heads = 1;
  params.scale = 0.5f;
  params.kv = cache.view;
  params.moments = {codes, &scale};
  params.scores = &score;
  params.score_stride = 1;
  reference::block_scores(params);
  EXPECT_NEAR(score, std::log(32.0f) + 0.5f * (1.0f - 0.25f), 1e-6f);
}

TEST(Reference, RopeTurnsByTheAngle) {
  float head[] = {1.0f, 0.0f};
  const std::int32_t position = 3;
  const double frequency = 0.5;
  RopeParams params;
  params.heads = head;
  params.positions = &position;
  params.inverse_frequency = &frequency;
  params.tokens = 1;
  params.heads_per_token = 1;
  params.head_dim = 2;
  reference::rope(params);
  EXPECT_FLOAT_EQ(head[0], std::cos(1.5f));
  EXPECT_FLOAT_EQ(head[1], std::sin(1.5f));
}

TEST(Reference, NormAndSwiglu) {
  const float input[] = {3.0f, 4.0f};
  const float weight[] = {1.0f, 2.0f};
  float output[2];
  RmsNormParams norm;
  norm.input = input;
  norm.weight = weight;
  norm.tokens = 1;
  norm.width = 2;
  norm.output = output;
  reference::rms_norm(norm);
  EXPECT_FLOAT_EQ(output[0], 3.0f / std::sqrt(12.5f));
  EXPECT_FLOAT_EQ(output[1], 8.0f / std::sqrt(12.5f));

  SwigluParams swiglu;
  swiglu.gate = input;
  swiglu.up = weight;
  swiglu.gate_stride = swiglu.up_stride = 2;
  swiglu.tokens = 1;
  swiglu.width = 2;
  swiglu.output = output;
  reference::swiglu(swiglu);
  EXPECT_FLOAT_EQ(output[0], 3.0f / (1.0f + std::exp(-3.0f)));
  EXPECT_FLOAT_EQ(output[1], 8.0f / (1.0f + std::exp(-4.0f)));
}

TEST(Reference, LinearIsRowMajorWeightTimesInput) {
  const float input[] = {1.0f, 2.0f};
  const float weight[] = {1.0f, 10.0f, 100.0f, 1000.0f};
  float output[] = {0.5f, 0.5f};
  LinearParams params;
  params.input = input;
  params.weight = weight;
  params.tokens = 1;
  params.inputs = 2;
  params.outputs = 2;
  params.accumulate = true;
  params.output = output;
  reference::linear(params);
  EXPECT_FLOAT_EQ(output[0], 21.5f);
  EXPECT_FLOAT_EQ(output[1], 2100.5f);
}

}  // namespace
}  // namespace sinkrouter::kernel_tests
