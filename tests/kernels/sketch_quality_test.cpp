#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/harness.h"
#include "kernels/sketched_block.h"

// What sketches are worth, in double precision and against formulas.
namespace sinkrouter::kernel_tests {
namespace {

// Mean share of a Gaussian row's energy that the quantiser of RowSketchesParams leaves. Steps
// follow the row's own norm, so a channel is distributed as a coordinate of a point on a sphere;
// that the scale fits each row besides takes off a few percent at d = 64.
double expected_error(int bits, int dim) {
  const double step = sketch_step(bits);
  const double top = (1 << bits) - 1;
  double squares = 0;
  double along = 0;
  double weight = 0;
  const double end = std::sqrt(static_cast<double>(dim));
  for (double x = -end; x < end; x += 1e-3) {
    const double density = std::pow(std::max(0.0, 1 - x * x / dim), 0.5 * (dim - 3));
    const double level = std::clamp(std::floor(x / step + 0.5 * (top + 1)), 0.0, top) - 0.5 * top;
    squares += density * x * x;
    along += density * x * level;
    weight += density * level * level;
  }
  return 1 - along * along / (weight * squares);
}

TEST(SketchStep, IsTheBestForANormal) {
  EXPECT_NEAR(expected_error(2, 1 << 14), 0.1188, 1e-4);
  EXPECT_NEAR(expected_error(4, 1 << 14), 0.01154, 1e-5);
}

class SketchQuality : public KernelTest {
 protected:
  SketchedBlock gaussian_block(int dim, int bits, float deviation = 1.0f) {
    SketchedBlock block(normals(kBlockSize * dim, deviation), dim, bits, DType::kF32);
    block.encode(rotation_of(dim), backend().row_sketches);
    return block;
  }

  const std::vector<float>& rotation_of(int dim) {
    std::vector<float>& rotation = rotations_[dim / 64];
    if (rotation.empty()) rotation = random_rotation(dim, rng);
    return rotation;
  }

  double mean_error(const SketchedBlock& block) {
    double sum = 0;
    for (int row = 0; row < kBlockSize; ++row) {
      const SketchedBlock::RowError error = block.error(row, rotation_of(block.head_dim));
      sum += error.missed / error.residual;
    }
    return sum / kBlockSize;
  }

  // Scores of the block's rows for queries [heads, head_dim] of one group.
  std::vector<float> scores(const SketchedBlock& block, const std::vector<float>& queries,
                            int heads, float scale) {
    std::vector<std::int8_t> codes(queries.size());
    std::vector<float> steps(heads);
    SketchQueriesParams sketch;
    sketch.queries = queries.data();
    sketch.rotation = rotation_of(block.head_dim).data();
    sketch.rows = heads;
    sketch.head_dim = block.head_dim;
    sketch.codes = codes.data();
    sketch.steps = steps.data();
    backend().sketch_queries(sketch);
    const std::int32_t page = 0;
    const std::int32_t length = kBlockSize;
    std::int32_t listed = 0;
    std::int32_t count = 1;
    std::vector<float> scores(std::size_t{kBlockSize} * heads);
    RowScoresParams params;
    params.queries = queries.data();
    params.query_codes = codes.data();
    params.query_steps = steps.data();
    params.q_heads = heads;
    params.scale = scale;
    params.kv.page_size = kBlockSize;
    params.kv.kv_heads = 1;
    params.kv.head_dim = block.head_dim;
    params.kv.sequences = 1;
    params.kv.page_table = &page;
    params.kv.page_table_stride = 1;
    params.kv.lengths = &length;
    params.moments = {block.mean_codes.data(), &block.mean_scale};
    params.sketches.bits = block.bits;
    params.sketches.codes = block.codes.data();
    params.sketches.scales = block.scales.data();
    params.blocks = {&listed, &count, 1, kBlockSize};
    params.scores = scores.data();
    params.score_stride = kBlockSize;
    backend().row_scores(params);
    return scores;
  }

 private:
  std::vector<float> rotations_[3];
};

TEST_P(SketchQuality, LosesWhatTheQuantiserMust) {
  for (int bits : {2, 4}) {
    for (int dim : {64, 128}) {
      constexpr int kBlocks = 60;
      double sum = 0;
      for (int i = 0; i < kBlocks; ++i) sum += mean_error(gaussian_block(dim, bits));
      const double expected = expected_error(bits, dim);
      EXPECT_NEAR(sum / kBlocks, expected, 0.1 * expected) << bits << " bits, d " << dim;
    }
  }
}

// Rotation spreads a row that is all in one channel, and size does not matter.
TEST_P(SketchQuality, OutliersAndSizes) {
  for (int bits : {2, 4}) {
    const int dim = one_of({64, 128});
    for (float size : {1e-3f, 1.0f, 1e4f}) {
      constexpr int kBlocks = 8;
      double sum = 0;
      for (int i = 0; i < kBlocks; ++i) sum += mean_error(gaussian_block(dim, bits, size));
      EXPECT_NEAR(sum / kBlocks, expected_error(bits, dim), 0.15 * expected_error(bits, dim))
          << size;
    }
    // One row may have all its channels between two levels, but few do.
    constexpr int kRows = 8;
    double sum = 0;
    for (int i = 0; i < kRows; ++i) {
      std::vector<float> keys = normals(kBlockSize * dim);
      const int row = between(0, kBlockSize - 1);
      keys[row * dim + between(0, dim - 1)] = 300.0f;
      SketchedBlock block(keys, dim, bits, DType::kF32);
      block.encode(rotation_of(dim), backend().row_sketches);
      const SketchedBlock::RowError error = block.error(row, rotation_of(dim));
      sum += error.missed / error.residual / kRows;
    }
    EXPECT_LT(sum, 3 * expected_error(bits, dim));
  }
}

// The correction makes estimated masses right on average: mean exp(true - estimate) = 1.
TEST_P(SketchQuality, EstimatesHoldTheMass) {
  constexpr int kBlocks = 60;
  constexpr int kHeads = 4;
  for (int bits : {2, 4}) {
    const int dim = one_of({64, 128});
    const float scale = 1.5f / std::sqrt(static_cast<float>(dim));
    double sum = 0;
    for (int i = 0; i < kBlocks; ++i) {
      const SketchedBlock block = gaussian_block(dim, bits);
      const std::vector<float> queries = normals(kHeads * dim);
      const std::vector<float> estimates = scores(block, queries, kHeads, scale);
      for (int head = 0; head < kHeads; ++head) {
        for (int row = 0; row < kBlockSize; ++row) {
          const double logit = scale * std::inner_product(queries.begin() + head * dim,
                                                          queries.begin() + (head + 1) * dim,
                                                          block.keys.begin() + row * dim, 0.0);
          sum += std::exp(logit - estimates[head * kBlockSize + row]);
        }
      }
    }
    EXPECT_NEAR(sum / (kBlocks * kHeads * kBlockSize), 1.0, 0.04) << bits << " bits, d " << dim;
  }
}

INSTANTIATE_TEST_SUITE_P(All, SketchQuality, testing::ValuesIn(all_backends()), backend_name);

}  // namespace
}  // namespace sinkrouter::kernel_tests
