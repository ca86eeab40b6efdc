#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "base/dtype.h"
#include "kernels/harness.h"
#include "kernels/paged_cache.h"
#include "kernels/paging.h"
#include "kernels/reference/reference.h"
#include "kernels/rounding.h"

namespace sinkrouter::kernel_tests {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

TEST(BFloat16Bounds, AreTheNearestOnTheirSide) {
  Rng rng(7);
  std::vector<float> values{0.0f,   -0.0f,   1.0f,          -1.0f,
                            1e-40f, -1e-40f, 0x1.010001p0f, -0x1.010001p0f};
  for (int i = 0; i < 1000; ++i) values.push_back(std::ldexp(rng.normal(), i % 60 - 30));
  for (const float x : values) {
    const float below = to_float(bfloat16_not_above(x));
    const float above = to_float(bfloat16_not_below(x));
    ASSERT_LE(below, x);
    ASSERT_GE(above, x);
    const bool exact = to_float(from_float<BFloat16>(x)) == x;
    ASSERT_EQ(below == above, exact) << x;
    // A bf16 in between would be one that rounding to nearest finds.
    const float nearest = to_float(from_float<BFloat16>(x));
    ASSERT_TRUE(nearest == below || nearest == above) << x;
  }
  EXPECT_TRUE(std::isnan(to_float(bfloat16_not_above(NAN))));
  EXPECT_TRUE(std::isnan(to_float(bfloat16_not_below(NAN))));
}

class KeyBoxes : public KernelTest {};

TEST_P(KeyBoxes, AreTheTightestAroundTheKeys) {
  for (int i = 0; i < 12; ++i) {
    KeyBoxParams params;
    params.dtype = one_of({DType::kF32, DType::kBF16, DType::kF16});
    params.head_dim = one_of({64, 80, 96, 128});
    params.token_stride = params.head_dim + one_of({0, 16});
    const std::vector<std::byte> keys =
        stored(normals(kBlockSize * params.token_stride), params.dtype);
    params.keys = keys.data();
    std::vector<BFloat16> expected(2 * params.head_dim);
    params.box = expected.data();
    reference::key_box(params);
    Guarded<BFloat16> box(2 * params.head_dim);
    params.box = box.data();
    backend().key_box(params);
    EXPECT_TRUE(box.guards_intact());
    for (int c = 0; c < 2 * params.head_dim; ++c) {
      ASSERT_EQ(box.data()[c].bits, expected[c].bits) << c;
    }
  }
}

TEST_P(KeyBoxes, ChannelsThatAreNotFiniteSaySo) {
  for (const float bad : {NAN, kInfinity, -kInfinity}) {
    KeyBoxParams params;
    params.dtype = one_of({DType::kF32, DType::kBF16, DType::kF16});
    params.head_dim = one_of({64, 80, 96, 128});
    params.token_stride = params.head_dim;
    std::vector<float> rows = normals(kBlockSize * params.token_stride);
    const auto at = rng.below(rows.size());
    rows[at] = bad;
    const std::vector<std::byte> keys = stored(rows, params.dtype);
    params.keys = keys.data();
    for (const bool is_reference : {false, true}) {
      std::vector<BFloat16> box(2 * params.head_dim);
      params.box = box.data();
      is_reference ? reference::key_box(params) : backend().key_box(params);
      for (int c = 0; c < 2 * params.head_dim; ++c) {
        const bool is_bad = c % params.head_dim == static_cast<int>(at) % params.head_dim;
        ASSERT_EQ(std::isnan(to_float(box[c])), is_bad) << c;
      }
    }
  }
}

// A cache whose full blocks have boxes, the rest of them NaN.
struct BoxedCache {
  BoxedCache(const CacheShape& shape, Rng& rng) : cache(shape, rng) {
    cache.fill_all(2.0f, rng);
    const KvView& kv = cache.view();
    const int pages =
        *std::max_element(kv.page_table, kv.page_table + kv.sequences * kv.page_table_stride) + 1;
    const std::int64_t blocks = std::int64_t{pages} * kv.kv_heads * (kv.page_size / kBlockSize);
    boxes.assign(blocks * 2 * kv.head_dim, from_float<BFloat16>(NAN));
    for (int s = 0; s < kv.sequences; ++s) {
      for (int h = 0; h < kv.kv_heads; ++h) {
        for (int b = 0; b < kv.lengths[s] / kBlockSize; ++b) fill(s, h, b);
      }
    }
  }

  void fill(int sequence, int kv_head, int block) {
    const KvView& kv = cache.view();
    KeyBoxParams params;
    params.keys = static_cast<const std::byte*>(kv.keys) +
                  row_offset(kv, sequence, kv_head, std::int64_t{block} * kBlockSize) *
                      static_cast<std::int64_t>(size_in_bytes(kv.dtype));
    params.dtype = kv.dtype;
    params.token_stride = kv.token_stride;
    params.head_dim = kv.head_dim;
    params.box = boxes.data() + moments_index(kv, sequence, kv_head, block) * 2 * kv.head_dim;
    reference::key_box(params);
  }

  PagedCache cache;
  std::vector<BFloat16> boxes;
};

TEST_P(KeyBoxes, BoundsAgreeAndNoLogitIsAboveThem) {
  for (int i = 0; i < 6; ++i) {
    CacheShape shape;
    shape.dtype = one_of({DType::kF32, DType::kBF16, DType::kF16});
    shape.page_size = one_of({32, 64, 128});
    shape.kv_heads = between(1, 3);
    shape.head_dim = one_of({64, 80, 96, 128});
    for (int s = between(1, 3); s > 0; --s) {
      shape.lengths.push_back(one_of({0, 31, 32, 65, between(0, 900)}));
    }
    const BoxedCache boxed(shape, rng);
    const KvView& kv = boxed.cache.view();
    const int q_heads = kv.kv_heads * one_of({1, 2, 3, 4, 7, 8});
    const std::int64_t rows = std::int64_t{kv.sequences} * q_heads;
    const std::vector<float> queries = normals(rows * kv.head_dim);
    const int longest = *std::max_element(shape.lengths.begin(), shape.lengths.end());

    BoxBoundsParams params;
    params.queries = queries.data();
    params.q_heads = q_heads;
    params.scale = 0.125f;
    params.kv = kv;
    params.kv.keys = nullptr;
    params.kv.values = nullptr;
    params.boxes = {boxed.boxes.data()};
    params.bound_stride = longest / kBlockSize + 3;
    Guarded<float> expected(rows * params.bound_stride);
    params.bounds = expected.data();
    reference::box_bounds(params);
    Guarded<float> bounds(rows * params.bound_stride);
    params.bounds = bounds.data();
    backend().box_bounds(params);
    EXPECT_TRUE(close(bounds.span(), expected.span(), 1e-5));
    EXPECT_TRUE(bounds.guards_intact());

    RowLogitsParams exact;
    exact.queries = queries.data();
    exact.q_heads = q_heads;
    exact.scale = params.scale;
    exact.kv = kv;
    exact.logit_stride = longest + 1;
    std::vector<float> logits(rows * exact.logit_stride);
    exact.logits = logits.data();
    reference::row_logits(exact);
    for (std::int64_t row = 0; row < rows; ++row) {
      const int full = shape.lengths[row / q_heads] / kBlockSize * kBlockSize;
      for (int token = 0; token < full; ++token) {
        const float bound = bounds.data()[row * params.bound_stride + token / kBlockSize];
        const float logit = logits[row * exact.logit_stride + token];
        ASSERT_LE(logit, bound + 1e-5f * std::fabs(bound)) << "row " << row << " token " << token;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, KeyBoxes, testing::ValuesIn(all_backends()), backend_name);

}  // namespace
}  // namespace sinkrouter::kernel_tests
