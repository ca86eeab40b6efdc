#include <algorithm>
#include <cmath>
#include <limits>

#include "base/dtype.h"
#include "kernels/harness.h"
#include "kernels/reference/reference.h"
#include "kernels/sketched_block.h"

namespace sinkrouter::kernel_tests {
namespace {

class RowSketches : public KernelTest {
 protected:
  SketchedBlock random_block(int bits) {
    const int dim = one_of({64, 80, 96, 128});
    std::vector<float> keys(kBlockSize * dim);
    const std::vector<float> centre = normals(dim, one_of({0.0f, 0.5f, 3.0f}));
    for (int i = 0; i < kBlockSize * dim; ++i) keys[i] = centre[i % dim] + rng.normal();
    return {keys, dim, bits, one_of({DType::kF32, DType::kBF16, DType::kF16})};
  }

  // Encodes with both and compares them. A channel next to the middle between two codes may round
  // either way, and then the row's scale follows.
  void check(SketchedBlock block, int most_different_rows) {
    const std::vector<float> rotation = random_rotation(block.head_dim, rng);
    SketchedBlock expected = block;
    expected.encode(rotation, reference::row_sketches);
    block.encode(rotation, backend().row_sketches);
    int different = 0;
    for (int row = 0; row < kBlockSize; ++row) {
      SCOPED_TRACE("row " + std::to_string(row));
      if (!std::isfinite(expected.scale(row))) {
        EXPECT_FALSE(std::isfinite(block.scale(row)));
        continue;
      }
      int steps = 0;
      for (int c = 0; c < block.head_dim; ++c) {
        steps += std::abs(block.code(row, c) - expected.code(row, c));
      }
      EXPECT_LE(steps, 1);
      const double slack = steps > 0 ? 2e-2 : 1e-3;  // 1e-3 is one fp16 step
      EXPECT_NEAR(block.scale(row), expected.scale(row), slack * expected.scale(row) + 6e-8);
      different += steps > 0 || block.scale(row) != expected.scale(row) ? 1 : 0;
    }
    EXPECT_LE(different, most_different_rows);
  }
};

TEST_P(RowSketches, MatchesReference) {
  for (int bits : {2, 4}) {
    for (int i = 0; i < 8; ++i) check(random_block(bits), 2);
  }
}

TEST_P(RowSketches, OutlierRowsAndSizes) {
  for (int bits : {2, 4}) {
    for (float size : {1e-6f, 1e-2f, 1e4f}) {
      SketchedBlock block = random_block(bits);
      std::vector<float> keys = block.keys;
      for (float& x : keys) x *= size;
      for (int c = 0; c < block.head_dim; ++c) keys[5 * block.head_dim + c] *= 30.0f;
      keys[9 * block.head_dim + 3] += 100.0f * size;
      check({keys, block.head_dim, bits, size == 1e4f ? DType::kBF16 : DType::kF32}, 3);
    }
  }
}

TEST_P(RowSketches, WritesOnlyItsBlock) {
  const int bits = one_of({2, 4});
  const SketchedBlock block = random_block(bits);
  const std::vector<float> rotation = random_rotation(block.head_dim, rng);
  const std::int64_t stride = block.head_dim + 16;
  std::vector<float> padded(kBlockSize * stride, std::numeric_limits<float>::quiet_NaN());
  for (int row = 0; row < kBlockSize; ++row) {
    std::copy_n(block.keys.begin() + row * block.head_dim, block.head_dim,
                padded.begin() + row * stride);
  }
  const std::vector<std::uint8_t> means(block.head_dim, 0);
  Guarded<std::uint32_t> codes(block.head_dim * bits / 32 * kBlockSize);
  Guarded<Float16> scales(kBlockSize);
  RowSketchesParams params;
  params.keys = padded.data();
  params.dtype = DType::kF32;
  params.token_stride = stride;
  params.head_dim = block.head_dim;
  params.mean_codes = means.data();
  params.rotation = rotation.data();
  params.bits = bits;
  params.codes = codes.data();
  params.scales = scales.data();
  backend().row_sketches(params);
  EXPECT_TRUE(codes.guards_intact() && scales.guards_intact());
  for (const Float16& scale : scales.span()) EXPECT_GT(to_float(scale), 0.0f);
}

// Rows without residual have scale 0; a constant block's rows are told by its mean alone.
TEST_P(RowSketches, ConstantBlocks) {
  for (int bits : {2, 4}) {
    for (float value : {0.0f, 1.0f, 0.3f}) {
      const int dim = one_of({64, 128});
      SketchedBlock block(std::vector<float>(kBlockSize * dim, value), dim, bits, DType::kF32);
      block.encode(random_rotation(dim, rng), backend().row_sketches);
      for (int row = 0; row < kBlockSize; ++row) {
        EXPECT_LE(block.scale(row), 1e-6 * value);
        for (int c = 0; c < dim; ++c) EXPECT_NEAR(block.mean(c), value, 1e-6 * value);
      }
    }
  }
}

TEST_P(RowSketches, RowsThatAreNotFinite) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (int bits : {2, 4}) {
    const int dim = one_of({64, 80, 96, 128});
    for (DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
      // With a mean of its own, so that the other rows stay numbers.
      std::vector<float> keys = normals(kBlockSize * dim);
      const int bad = between(0, kBlockSize - 4);
      keys[bad * dim + between(0, dim - 1)] = kNan;
      keys[(bad + 1) * dim + between(0, dim - 1)] = kInfinity;
      keys[(bad + 2) * dim + between(0, dim - 1)] = -kInfinity;
      const std::vector<std::byte> rows = stored(keys, dtype);
      const std::vector<float> rotation = random_rotation(dim, rng);
      std::vector<std::uint8_t> means(dim, 0x38);  // 1.0
      std::vector<std::uint32_t> codes(dim * bits / 32 * kBlockSize);
      std::vector<Float16> scales(kBlockSize);
      RowSketchesParams params;
      params.keys = rows.data();
      params.dtype = dtype;
      params.token_stride = dim;
      params.head_dim = dim;
      params.mean_codes = means.data();
      params.mean_scale = 0.1f;
      params.rotation = rotation.data();
      params.bits = bits;
      params.codes = codes.data();
      params.scales = scales.data();
      backend().row_sketches(params);
      for (int row = 0; row < kBlockSize; ++row) {
        const float scale = to_float(scales[row]);
        EXPECT_EQ(std::isnan(scale), row >= bad && row < bad + 3) << row << ": " << scale;
      }
      means[between(0, dim - 1)] = 0x7f;
      backend().row_sketches(params);
      for (const Float16& scale : scales) EXPECT_TRUE(std::isnan(to_float(scale)));
    }
  }
}

TEST_P(RowSketches, ScalesBeyondFp16AreNotFinite) {
  const int dim = one_of({64, 128});
  for (float size : {1e6f, 1e18f, 1e30f}) {
    SketchedBlock block(normals(kBlockSize * dim, size), dim, one_of({2, 4}), DType::kF32);
    block.encode(random_rotation(dim, rng), backend().row_sketches);
    const double least = block.bits == 2 ? 0 : 3e6;  // at 4 bits 1e6 still fits
    for (int row = 0; row < kBlockSize && size > least; ++row) {
      EXPECT_FALSE(std::isfinite(block.scale(row))) << size;
    }
  }
}

TEST_P(RowSketches, Queries) {
  for (int i = 0; i < 8; ++i) {
    const int dim = one_of({64, 80, 96, 128});
    const int rows = one_of({1, 2, 3, 4, 5, 8, 17});
    std::vector<float> queries = normals(rows * dim, one_of({1e-6f, 1.0f, 1e4f}));
    const int zero = between(0, rows - 1);
    const int bad = between(0, rows - 1);
    std::fill_n(queries.begin() + zero * dim, dim, 0.0f);
    if (i % 2 == 0) {
      queries[bad * dim + between(0, dim - 1)] =
          one_of({std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()});
    }
    const std::vector<float> rotation = random_rotation(dim, rng);
    SketchQueriesParams params;
    params.queries = queries.data();
    params.rotation = rotation.data();
    params.rows = rows;
    params.head_dim = dim;
    std::vector<std::int8_t> expected(rows * dim);
    std::vector<float> expected_steps(rows);
    params.codes = expected.data();
    params.steps = expected_steps.data();
    reference::sketch_queries(params);
    Guarded<std::int8_t> codes(rows * dim);
    Guarded<float> steps(rows);
    params.codes = codes.data();
    params.steps = steps.data();
    backend().sketch_queries(params);
    EXPECT_TRUE(codes.guards_intact() && steps.guards_intact());
    int different = 0;
    for (int row = 0; row < rows; ++row) {
      EXPECT_TRUE(close({steps.data() + row, 1}, {expected_steps.data() + row, 1}, 2e-6));
      for (int c = row * dim; c < (row + 1) * dim; ++c) {
        ASSERT_LE(std::abs(codes.data()[c] - expected[c]), 1);
        different += codes.data()[c] != expected[c] ? 1 : 0;
      }
    }
    EXPECT_LE(different, 2);
  }
}

INSTANTIATE_TEST_SUITE_P(All, RowSketches, testing::ValuesIn(all_backends()), backend_name);

}  // namespace
}  // namespace sinkrouter::kernel_tests
