#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/dtype.h"
#include "kernels/harness.h"
#include "kernels/reference/reference.h"
#include "kernels/rounding.h"
#include "kernels/sketched_block.h"

namespace sinkrouter::kernel_tests {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

// Blocks of one KV head side by side as a cache of pages of one block each.
struct BlockCache {
  BlockCache(std::vector<SketchedBlock> of_blocks, std::vector<float> rotation_matrix)
      : blocks(std::move(of_blocks)), rotation(std::move(rotation_matrix)) {
    for (const SketchedBlock& block : blocks) {
      keys.insert(keys.end(), block.stored_keys.begin(), block.stored_keys.end());
      codes.insert(codes.end(), block.codes.begin(), block.codes.end());
      scales.insert(scales.end(), block.scales.begin(), block.scales.end());
      misses.insert(misses.end(), block.misses.begin(), block.misses.end());
      means.insert(means.end(), block.mean_codes.begin(), block.mean_codes.end());
      mean_scales.push_back(block.mean_scale);
      pages.push_back(static_cast<std::int32_t>(pages.size()));
    }
    length = static_cast<std::int32_t>(blocks.size()) * kBlockSize;
    list_count = static_cast<std::int32_t>(blocks.size());
  }

  KvView view() const {
    const int dim = blocks.front().head_dim;
    KvView kv;
    kv.keys = keys.data();
    kv.values = keys.data();
    kv.dtype = blocks.front().key_type;
    kv.page_size = kBlockSize;
    kv.token_stride = dim;
    kv.head_stride = kv.page_stride = std::int64_t{dim} * kBlockSize;
    kv.kv_heads = 1;
    kv.head_dim = dim;
    kv.sequences = 1;
    kv.page_table = pages.data();
    kv.page_table_stride = static_cast<std::int64_t>(pages.size());
    kv.lengths = &length;
    return kv;
  }

  void fill(SketchedRowsParams& params) {
    params.kv = view();
    params.moments = {means.data(), mean_scales.data()};
    params.sketches.bits = blocks.front().bits;
    params.sketches.codes = codes.data();
    params.sketches.scales = scales.data();
    params.sketches.misses = misses.data();
    params.blocks = {.granules = pages.data(),
                     .counts = &list_count,
                     .capacity = list_count,
                     .granule = kBlockSize};
    params.score_stride = length + 3;
  }

  std::vector<SketchedBlock> blocks;
  std::vector<float> rotation;
  std::vector<std::byte> keys;
  std::vector<std::uint32_t> codes;
  std::vector<Float16> scales;
  std::vector<Float16> misses;
  std::vector<std::uint8_t> means;
  std::vector<float> mean_scales;
  std::vector<std::int32_t> pages;
  std::int32_t length = 0;
  std::int32_t list_count = 0;
};

class RowBounds : public KernelTest {
 protected:
  // Keys that bounds may find hard, of all sizes.
  std::vector<float> awkward_keys(int dim, float size) {
    std::vector<float> keys = normals(std::int64_t{kBlockSize} * dim, size);
    switch (between(0, 6)) {
      case 0: {  // far from the origin
        const std::vector<float> centre = normals(dim, 30 * size);
        for (std::size_t i = 0; i < keys.size(); ++i) keys[i] += centre[i % dim];
        break;
      }
      case 1:  // all alike
        for (std::size_t i = dim; i < keys.size(); ++i) keys[i] = keys[i % dim];
        break;
      case 2:  // but for one bit
        for (std::size_t i = dim; i < keys.size(); ++i) {
          keys[i] = std::nextafter(keys[i % dim], i % 2 == 0 ? 1e38f : -1e38f);
        }
        break;
      case 3: {  // one huge row
        const int row = between(0, kBlockSize - 1);
        for (int c = 0; c < dim; ++c) keys[row * dim + c] *= 1000;
        break;
      }
      case 4: {  // one huge channel
        const int channel = between(0, dim - 1);
        for (int row = 0; row < kBlockSize; ++row) keys[row * dim + channel] *= 1000;
        break;
      }
      case 5:  // sparse
        for (float& x : keys) x = chance(0.9) ? 0.0f : x;
        break;
      default:
        break;
    }
    return keys;
  }

  float any_size() {
    return one_of(
        {1e-42f, 1e-39f, 1e-30f, 1e-20f, 1e-8f, 1e-3f, 1.0f, 1.0f, 1.0f, 30.0f, 1e4f, 1e9f, 1e15f});
  }

  BlockCache random_cache(float size) {
    const int dim = one_of({64, 80, 96, 128});
    const int bits = one_of({2, 4, 4});
    const DType dtype = one_of({DType::kF32, DType::kBF16, DType::kF16});
    const std::vector<float> rotation = random_rotation(dim, rng);
    std::vector<SketchedBlock> blocks;
    for (int b = between(1, 5); b > 0; --b) {
      blocks.emplace_back(awkward_keys(dim, size), dim, bits, dtype);
      blocks.back().encode(rotation, backend().row_sketches);
    }
    return {std::move(blocks), rotation};
  }

  // Random, along a key, or along what a sketch misses of one, where bounds are attained.
  std::vector<float> awkward_query(const BlockCache& cache, float size) {
    const SketchedBlock& block = cache.blocks[rng.below(cache.blocks.size())];
    const int dim = block.head_dim;
    std::vector<float> query = normals(dim, size);
    const int row = between(0, kBlockSize - 1);
    const int kind = between(0, 2);
    if (kind == 0) return query;
    std::vector<double> direction(dim);
    double squares = 0;
    for (int c = 0; c < dim; ++c) {
      direction[c] = block.keys[row * dim + c];
      for (int i = 0; kind == 2 && i < dim; ++i) {
        direction[c] -= cache.rotation[i * dim + c] * block.scale(row) * block.level(row, i);
      }
      if (kind == 2) direction[c] -= block.mean(c);
      squares += direction[c] * direction[c];
    }
    if (!(squares > 0) || !std::isfinite(squares)) return query;
    for (int c = 0; c < dim; ++c) {
      query[c] = static_cast<float>(direction[c] * size * std::sqrt(dim / squares));
    }
    return query;
  }

  // Bounds of all rows for `queries` [group, head_dim].
  void bound(BlockCache& cache, const std::vector<float>& queries) {
    const int dim = cache.blocks.front().head_dim;
    const int group = static_cast<int>(queries.size()) / dim;
    query_codes.resize(queries.size());
    query_steps.resize(group);
    query_misses.resize(group);
    SketchQueriesParams encode;
    encode.queries = queries.data();
    encode.rotation = cache.rotation.data();
    encode.rows = group;
    encode.head_dim = dim;
    encode.codes = query_codes.data();
    encode.steps = query_steps.data();
    encode.misses = query_misses.data();
    backend().sketch_queries(encode);
    params = {};
    cache.fill(params);
    params.queries = queries.data();
    params.query_codes = query_codes.data();
    params.query_steps = query_steps.data();
    params.query_misses = query_misses.data();
    params.q_heads = group;
    params.scale = static_cast<float>(1 / std::sqrt(dim));
    lower.assign(group * params.score_stride, kNaN);
    upper.assign(group * params.score_stride, kNaN);
    params.lower = lower.data();
    params.upper = upper.data();
    backend().row_bounds(params);
  }

  // Calls check(lower, upper, exact logit, row, head).
  template <typename Check>
  void for_bounds(const BlockCache& cache, const std::vector<float>& queries, const Check& check) {
    const int dim = cache.blocks.front().head_dim;
    for (int h = 0; h < params.q_heads; ++h) {
      for (int row = 0; row < cache.length; ++row) {
        const SketchedBlock& block = cache.blocks[row / kBlockSize];
        double product = 0;
        for (int c = 0; c < dim; ++c) {
          product += double{queries[h * dim + c]} * block.keys[row % kBlockSize * dim + c];
        }
        const std::int64_t at = h * params.score_stride + row;
        check(lower[at], upper[at], params.scale * product, row, h);
      }
    }
  }

  RowBoundsParams params;
  std::vector<std::int8_t> query_codes;
  std::vector<float> query_steps;
  std::vector<float> query_misses;
  std::vector<float> lower;
  std::vector<float> upper;
};

TEST_P(RowBounds, MissesAreNotBelowWhatSketchesMiss) {
  for (int i = 0; i < 40; ++i) {
    const float size = any_size();
    const BlockCache cache = random_cache(size);
    for (const SketchedBlock& block : cache.blocks) {
      for (int row = 0; row < kBlockSize; ++row) {
        const double miss = to_float(block.misses[row]);
        if (std::isnan(miss)) continue;
        const double missed = block.missed(row, cache.rotation);
        ASSERT_GE(miss, missed) << "size " << size;
        const double residual = std::sqrt(block.error(row, cache.rotation).residual);
        double norm = 0;
        for (int c = 0; c < block.head_dim; ++c) norm += block.mean(c) * block.mean(c);
        ASSERT_LE(miss, 1.002 * missed + 2e-4 * residual + 1e-6 * std::sqrt(norm) + 1.2e-7)
            << "size " << size;
      }
    }
  }
}

TEST_P(RowBounds, ReferenceMissesAreTheExactOnesRoundedUp) {
  const int dim = one_of({64, 80, 96, 128});
  const std::vector<float> rotation = random_rotation(dim, rng);
  SketchedBlock block(normals(kBlockSize * dim), dim, one_of({2, 4}), DType::kF32);
  block.encode(rotation, reference::row_sketches);
  for (int row = 0; row < kBlockSize; ++row) {
    const double missed = block.missed(row, rotation);
    EXPECT_GE(to_float(block.misses[row]), missed);
    EXPECT_LE(to_float(block.misses[row]), missed * 1.001);
  }
}

TEST_P(RowBounds, ContainTheExactLogits) {
  int bounded = 0;
  for (int i = 0; i < 60; ++i) {
    const float key_size = any_size();
    BlockCache cache = random_cache(key_size);
    const int group = one_of({1, 2, 3, 4, 5, 8, 16, 17});
    std::vector<float> queries;
    const float query_size = any_size();
    for (int h = 0; h < group; ++h) {
      const std::vector<float> query = awkward_query(cache, query_size);
      queries.insert(queries.end(), query.begin(), query.end());
    }
    bound(cache, queries);
    for_bounds(cache, queries, [&](float low, float high, double logit, int row, int head) {
      if (std::isnan(low) || std::isnan(high) || std::isinf(high)) return;
      ASSERT_TRUE(low <= logit && logit <= high)
          << low << " " << logit << " " << high << ": row " << row << " head " << head
          << " keys of size " << key_size << " queries of " << query_size;
      ++bounded;
    });
    if (HasFatalFailure()) return;
  }
  EXPECT_GT(bounded, 10000);
}

// Of usual sizes every row has bounds, and they are about as wide as what the sketch misses.
TEST_P(RowBounds, AreAttainedByTheWorstQuery) {
  double closest = 0;
  for (int i = 0; i < 10; ++i) {
    BlockCache cache = random_cache(1.0f);
    for (int attempt = 0; attempt < 4; ++attempt) {
      const std::vector<float> queries = awkward_query(cache, 1.0f);
      bound(cache, queries);
      for_bounds(cache, queries, [&](float low, float high, double logit, int row, int) {
        if (cache.blocks[row / kBlockSize].key_type == DType::kF32) {
          ASSERT_TRUE(std::isfinite(low) && std::isfinite(high));
        }
        const double centre = (double{low} + high) / 2;
        closest = std::max(closest, std::fabs(logit - centre) / (high - centre));
      });
    }
  }
  EXPECT_GT(closest, 0.7);
  EXPECT_LE(closest, 1.0);
}

TEST_P(RowBounds, ContainTheLogitsThatAttentionComputes) {
  for (int i = 0; i < 6; ++i) {
    BlockCache cache = random_cache(one_of({1e-3f, 1.0f, 30.0f}));
    const std::vector<float> queries = awkward_query(cache, one_of({0.1f, 1.0f, 30.0f}));
    bound(cache, queries);
    for (int sample = 0; sample < 20; ++sample) {
      std::int32_t row = between(0, cache.length - 1);
      std::int32_t one = 1;
      float lse = 0;
      DecodeAttentionParams attend;
      attend.queries = queries.data();
      attend.q_heads = 1;
      attend.scale = params.scale;
      attend.kv = cache.view();
      attend.lists = {.granules = &row, .counts = &one, .capacity = 1, .granule = 1};
      attend.lse = &lse;
      Guarded<std::byte> workspace(backend().decode_workspace(attend));
      attend.workspace = workspace.data();
      attend.workspace_bytes = workspace.size();
      backend().decode_attention(attend);
      if (std::isnan(lower[row])) continue;                        // f16 keys may overflow
      const double rounding = 4 * kUnitRoundoff * std::fabs(lse);  // of what becomes of the logit
      ASSERT_GE(lse, lower[row] - rounding);
      ASSERT_LE(lse, upper[row] + rounding);
    }
  }
}

TEST_P(RowBounds, MatchTheReference) {
  for (int i = 0; i < 10; ++i) {
    BlockCache cache = random_cache(one_of({1e-2f, 1.0f, 10.0f}));
    std::vector<float> queries;
    for (int h = one_of({1, 3, 8, 18}); h > 0; --h) {
      const std::vector<float> query = awkward_query(cache, 1.0f);
      queries.insert(queries.end(), query.begin(), query.end());
    }
    bound(cache, queries);
    RowBoundsParams expected = params;
    std::vector<float> expected_lower(lower.size(), kNaN);
    std::vector<float> expected_upper(upper.size(), kNaN);
    expected.lower = expected_lower.data();
    expected.upper = expected_upper.data();
    reference::row_bounds(expected);
    EXPECT_TRUE(close(lower, expected_lower, 1e-4));
    EXPECT_TRUE(close(upper, expected_upper, 1e-4));
  }
}

TEST_P(RowBounds, WhatIsNotFiniteHasNone) {
  BlockCache cache = random_cache(1.0f);
  const int dim = cache.blocks.front().head_dim;
  const int rows = cache.length;
  const auto unusable = [&](int row) {
    return std::isnan(lower[row]) || std::isnan(upper[row]) || std::isinf(upper[row]);
  };
  std::vector<float> queries = normals(dim);
  const int bad = between(0, rows - 1);
  BlockCache poisoned = cache;
  poisoned.misses[bad] = Float16{0x7e00};
  bound(poisoned, queries);
  EXPECT_TRUE(unusable(bad));
  poisoned = cache;
  poisoned.scales[bad] = Float16{0x7e00};
  bound(poisoned, queries);
  EXPECT_TRUE(unusable(bad));
  poisoned = cache;
  poisoned.mean_scales[bad / kBlockSize] = kNaN;
  bound(poisoned, queries);
  EXPECT_TRUE(unusable(bad));
  for (const float value : {kNaN, std::numeric_limits<float>::infinity()}) {
    queries[between(0, dim - 1)] = value;
    bound(cache, queries);
    for (int row = 0; row < rows; ++row) EXPECT_TRUE(unusable(row));
  }
  // Logits beyond fp32.
  bound(cache, std::vector<float>(dim, 3e38f));
  for_bounds(cache, std::vector<float>(dim, 3e38f),
             [&](float low, float high, double logit, int, int) {
               if (std::isnan(low) || std::isnan(high) || std::isinf(high)) return;
               EXPECT_TRUE(low <= logit && logit <= high);
             });
}

TEST_P(RowBounds, QueryMissesAreNotBelowWhatCodesMiss) {
  for (int i = 0; i < 20; ++i) {
    const int dim = one_of({64, 80, 96, 128});
    const float size = any_size();
    const std::vector<float> query = normals(dim, size);
    const std::vector<float> rotation = random_rotation(dim, rng);
    std::vector<std::int8_t> codes(dim);
    float step = 0;
    float miss = 0;
    SketchQueriesParams encode;
    encode.queries = query.data();
    encode.rotation = rotation.data();
    encode.rows = 1;
    encode.head_dim = dim;
    encode.codes = codes.data();
    encode.steps = &step;
    encode.misses = &miss;
    backend().sketch_queries(encode);
    double squares = 0;
    double norm = 0;
    for (int c = 0; c < dim; ++c) {
      double rest = -double{step} * codes[c];
      for (int j = 0; j < dim; ++j) rest += double{rotation[c * dim + j]} * query[j];
      squares += rest * rest;
      norm += double{query[c]} * query[c];
    }
    EXPECT_GE(miss, std::sqrt(squares)) << size;
    EXPECT_LE(miss, 1.000001 * std::sqrt(squares) + 2e-4 * std::sqrt(norm) + 2e-30) << size;
  }
}

INSTANTIATE_TEST_SUITE_P(All, RowBounds, testing::ValuesIn(all_backends()), backend_name);

}  // namespace
}  // namespace sinkrouter::kernel_tests
