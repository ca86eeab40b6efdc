#include <cmath>
#include <limits>
#include <sstream>

#include "kernels/harness.h"
#include "kernels/paged_cache.h"
#include "kernels/reference/reference.h"

namespace sinkrouter::kernel_tests {
namespace {

struct DecodeCase {
  CacheShape cache;
  int group = 1;
  int granule = 1;
  double share = 1.0;
  float key_deviation = 1.0f;

  std::string text() const {
    std::ostringstream out;
    out << name(cache.dtype) << " d=" << cache.head_dim << " page=" << cache.page_size
        << " kv_heads=" << cache.kv_heads << " group=" << group << " granule=" << granule
        << " share=" << share << " lengths";
    for (int length : cache.lengths) out << ' ' << length;
    return out.str();
  }
};

class DecodeAttention : public KernelTest {
 protected:
  DecodeCase random_case() {
    DecodeCase shape;
    shape.cache.dtype = one_of({DType::kF32, DType::kBF16, DType::kF16});
    shape.cache.head_dim = one_of({64, 80, 96, 128});
    shape.cache.page_size = one_of({32, 64, 128});
    shape.cache.kv_heads = between(1, 4);
    shape.group = one_of({1, 2, 3, 4, 5, 7, 8, 16, 18});
    shape.granule = one_of({1, 1, 2, 16, 32, shape.cache.page_size});
    shape.share = one_of({0.0, 0.05, 0.4, 1.0});
    shape.key_deviation = one_of({0.2f, 1.0f, 6.0f});
    const int sequences = between(1, 3);
    for (int s = 0; s < sequences; ++s) shape.cache.lengths.push_back(random_length());
    return shape;
  }

  int random_length() {
    const int page = 64;
    return one_of({0, 1, 3, page - 1, page, page + 1, between(0, 700), between(0, 700)});
  }

  // Compares one case with the reference; only listed rows hold numbers. `poisoned` makes a listed
  // row NaN, which must show where the reference shows it.
  void check(const DecodeCase& shape, bool poisoned = false) {
    SCOPED_TRACE(shape.text());
    PagedCache cache(shape.cache, rng);
    const KvView& kv = cache.view();
    Lists lists(kv, shape.granule);
    for (int s = 0; s < kv.sequences; ++s) {
      for (int h = 0; h < kv.kv_heads; ++h) {
        lists.choose(s, h, shape.share, rng);
        const std::vector<int> tokens = lists.tokens(s, h);
        for (int token : tokens) cache.fill_row(s, h, token, shape.key_deviation, rng);
        if (poisoned && !tokens.empty()) cache.poison_row(s, h, tokens[rng.below(tokens.size())]);
      }
    }
    run(kv, lists.view(), shape.group);
  }

  void run(const KvView& kv, const GranuleLists& lists, int group) {
    const int q_heads = kv.kv_heads * group;
    const std::int64_t rows = std::int64_t{kv.sequences} * q_heads;
    const std::vector<float> queries = normals(rows * kv.head_dim);
    DecodeAttentionParams params;
    params.queries = queries.data();
    params.q_heads = q_heads;
    params.scale = 1.0f / std::sqrt(static_cast<float>(kv.head_dim));
    params.kv = kv;
    params.lists = lists;

    std::vector<float> expected(rows * kv.head_dim);
    std::vector<float> expected_lse(rows);
    params.output = expected.data();
    params.lse = expected_lse.data();
    reference::decode_attention(params);

    Guarded<std::byte> workspace(backend().decode_workspace(params));
    params.workspace = workspace.data();
    params.workspace_bytes = workspace.size();
    Guarded<float> output(rows * kv.head_dim);
    Guarded<float> lse(rows);
    params.output = output.data();
    params.lse = lse.data();
    backend().decode_attention(params);
    EXPECT_TRUE(close(output.span(), expected, 1e-5));
    EXPECT_TRUE(close(lse.span(), expected_lse, 1e-5));
    EXPECT_TRUE(output.guards_intact() && lse.guards_intact() && workspace.guards_intact());

    Guarded<float> only_lse(rows);
    params.output = nullptr;
    params.lse = only_lse.data();
    params.kv.values = nullptr;
    backend().decode_attention(params);
    EXPECT_TRUE(close(only_lse.span(), expected_lse, 1e-5));
    EXPECT_TRUE(only_lse.guards_intact());
  }
};

TEST_P(DecodeAttention, MatchesReference) {
  for (int i = 0; i < 24; ++i) check(random_case());
}

TEST_P(DecodeAttention, EveryHeadDimAndType) {
  for (DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    for (int head_dim : {64, 80, 96, 128}) {
      DecodeCase shape = random_case();
      shape.cache.dtype = dtype;
      shape.cache.head_dim = head_dim;
      shape.cache.lengths = {between(65, 300)};
      shape.share = 0.7;
      check(shape);
    }
  }
}

// One long list among short ones: its pieces are merged across threads.
TEST_P(DecodeAttention, SplitsLongLists) {
  for (int granule : {1, 32}) {
    DecodeCase shape = random_case();
    shape.cache.head_dim = 64;
    shape.cache.kv_heads = 2;
    shape.cache.lengths = {5000, 0, 40};
    shape.group = 4;
    shape.granule = granule;
    shape.share = 0.9;
    check(shape);
  }
}

TEST_P(DecodeAttention, ListedNanShowsWhereTheReferenceShowsIt) {
  for (int i = 0; i < 6; ++i) {
    DecodeCase shape = random_case();
    shape.key_deviation = 1.0f;
    check(shape, true);
  }
}

TEST_P(DecodeAttention, EmptyListsGiveZeroAndMinusInfinity) {
  DecodeCase shape = random_case();
  shape.cache.lengths = {0, 70};
  shape.share = 0.0;
  PagedCache cache(shape.cache, rng);
  const Lists lists(cache.view(), shape.granule);
  const int q_heads = shape.cache.kv_heads * shape.group;
  const std::int64_t rows = 2 * q_heads;
  const std::vector<float> queries = normals(rows * shape.cache.head_dim);
  Guarded<float> output(rows * shape.cache.head_dim);
  Guarded<float> lse(rows);
  DecodeAttentionParams params;
  params.queries = queries.data();
  params.q_heads = q_heads;
  params.scale = 0.1f;
  params.kv = cache.view();
  params.lists = lists.view();
  params.output = output.data();
  params.lse = lse.data();
  Guarded<std::byte> workspace(backend().decode_workspace(params));
  params.workspace = workspace.data();
  params.workspace_bytes = workspace.size();
  backend().decode_attention(params);
  for (float x : output.span()) ASSERT_EQ(x, 0.0f);
  for (float x : lse.span()) ASSERT_EQ(x, -std::numeric_limits<float>::infinity());
}

INSTANTIATE_TEST_SUITE_P(All, DecodeAttention, testing::ValuesIn(all_backends()), backend_name);

}  // namespace
}  // namespace sinkrouter::kernel_tests
