#include "kv/rotation.h"

#include <gtest/gtest.h>

#include <cmath>

#include "kernels/rounding.h"

namespace sinkrouter::test {
namespace {

TEST(Rotation, IsOrthogonalAndTheSameEveryTime) {
  for (int dim : {1, 2, 16, 64, 80, 96, 128, 256}) {
    const std::vector<float> matrix = rotation_matrix(dim);
    ASSERT_EQ(matrix.size(), static_cast<std::size_t>(dim) * dim);
    EXPECT_EQ(matrix, rotation_matrix(dim));
    for (int a = 0; a < dim; ++a) {
      for (int b = 0; b <= a; ++b) {
        double dot = 0;
        for (int i = 0; i < dim; ++i) dot += double{matrix[a * dim + i]} * matrix[b * dim + i];
        ASSERT_NEAR(dot, a == b ? 1.0 : 0.0, 1e-6) << dim << " rows " << a << " and " << b;
      }
    }
  }
}

// What the bounds of policy certified rely on: the Frobenius norm of R^T R - I is above the
// spectral.
TEST(Rotation, KeepsTheDefectThatBoundsAllow) {
  for (int dim = 16; dim <= 128; dim += 16) {
    const std::vector<float> matrix = rotation_matrix(dim);
    double squares = 0;
    for (int a = 0; a < dim; ++a) {
      for (int b = 0; b < dim; ++b) {
        double dot = a == b ? -1.0 : 0.0;
        for (int i = 0; i < dim; ++i) dot += double{matrix[i * dim + a]} * matrix[i * dim + b];
        squares += dot * dot;
      }
    }
    EXPECT_LT(std::sqrt(squares), kRotationDefect) << dim;
  }
}

// A vector with one large channel must come out without one.
TEST(Rotation, SpreadsOutliers) {
  for (int dim : {64, 80, 96, 128}) {
    const std::vector<float> matrix = rotation_matrix(dim);
    for (int channel = 0; channel < dim; ++channel) {
      double largest = 0;
      for (int row = 0; row < dim; ++row) {
        largest = std::fmax(largest, std::fabs(matrix[row * dim + channel]));
      }
      EXPECT_LT(largest, 0.6) << dim << " channel " << channel;
    }
  }
}

}  // namespace
}  // namespace sinkrouter::test
