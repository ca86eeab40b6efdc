#include <cmath>
#include <sstream>

#include "kernels/harness.h"
#include "kernels/paged_cache.h"
#include "kernels/reference/reference.h"

namespace sinkrouter::kernel_tests {
namespace {

class PrefillAttention : public KernelTest {
 protected:
  void check(const CacheShape& shape, int group, int first_position, int tokens,
             float key_deviation) {
    std::ostringstream text;
    text << name(shape.dtype) << " d=" << shape.head_dim << " page=" << shape.page_size
         << " kv_heads=" << shape.kv_heads << " group=" << group << " first=" << first_position
         << " tokens=" << tokens << " length=" << shape.lengths[0];
    SCOPED_TRACE(text.str());
    PagedCache cache(shape, rng);
    const KvView& kv = cache.view();
    for (int head = 0; head < kv.kv_heads; ++head) {
      for (int token = 0; token < first_position + tokens; ++token) {
        cache.fill_row(0, head, token, key_deviation, rng);
      }
    }
    const int q_heads = kv.kv_heads * group;
    const std::int64_t elements = std::int64_t{tokens} * q_heads * kv.head_dim;
    const std::vector<float> queries = normals(elements);
    std::vector<float> expected(elements);
    PrefillAttentionParams params;
    params.queries = queries.data();
    params.tokens = tokens;
    params.first_position = first_position;
    params.q_heads = q_heads;
    params.scale = 1.0f / std::sqrt(static_cast<float>(kv.head_dim));
    params.kv = kv;
    params.output = expected.data();
    reference::prefill_attention(params);
    Guarded<float> output(elements);
    params.output = output.data();
    backend().prefill_attention(params);
    EXPECT_TRUE(close(output.span(), expected, 1e-5));
    EXPECT_TRUE(output.guards_intact());
  }

  CacheShape random_shape() {
    CacheShape shape;
    shape.dtype = one_of({DType::kF32, DType::kBF16, DType::kF16});
    shape.page_size = one_of({32, 64, 128});
    shape.kv_heads = between(1, 3);
    shape.head_dim = one_of({64, 80, 96, 128});
    return shape;
  }
};

TEST_P(PrefillAttention, MatchesReference) {
  for (int i = 0; i < 10; ++i) {
    CacheShape shape = random_shape();
    const int first = one_of({0, 0, 1, 63, 64, between(0, 150)});
    const int tokens = one_of({1, 2, 6, 31, 64, between(1, 90)});
    shape.lengths = {first + tokens + one_of({0, 0, 5})};
    check(shape, one_of({1, 2, 3, 4, 5, 8, 16}), first, tokens, one_of({0.3f, 1.0f, 5.0f}));
  }
}

TEST_P(PrefillAttention, EveryHeadDimAndType) {
  for (DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    for (int head_dim : {64, 80, 96, 128}) {
      CacheShape shape = random_shape();
      shape.dtype = dtype;
      shape.head_dim = head_dim;
      shape.lengths = {100};
      check(shape, between(1, 4), 70, 30, 1.0f);
    }
  }
}

// Several blocks of query rows per KV head.
TEST_P(PrefillAttention, LongChunk) {
  CacheShape shape = random_shape();
  shape.kv_heads = 1;
  shape.lengths = {330};
  check(shape, 4, 17, 313, 1.0f);
}

INSTANTIATE_TEST_SUITE_P(All, PrefillAttention, testing::ValuesIn(all_backends()), backend_name);

}  // namespace
}  // namespace sinkrouter::kernel_tests
