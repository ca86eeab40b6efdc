#include "kv/rotation.h"

#include <bit>
#include <cmath>
#include <cstddef>

#include "base/check.h"
#include "base/rng.h"

namespace sinkrouter {
namespace {

constexpr std::uint64_t kSeed = 0x726f7461746500ull;

std::vector<float> signed_hadamard(std::size_t dim) {
  Rng rng(kSeed);
  const auto unit = static_cast<float>(1.0 / std::sqrt(static_cast<double>(dim)));
  std::vector<float> matrix(dim * dim);
  for (std::size_t column = 0; column < dim; ++column) {
    const float sign = rng.below(2) == 0 ? unit : -unit;
    for (std::size_t row = 0; row < dim; ++row) {
      matrix[row * dim + column] = std::popcount(row & column) % 2 == 0 ? sign : -sign;
    }
  }
  return matrix;
}

// Gram-Schmidt on random rows, twice, which makes rounding harmless.
std::vector<float> random_orthogonal(std::size_t dim) {
  Rng rng(kSeed);
  std::vector<double> rows(dim * dim);
  for (double& x : rows) x = rng.normal();
  for (std::size_t row = 0; row < dim; ++row) {
    double* current = rows.data() + row * dim;
    for (int pass = 0; pass < 2; ++pass) {
      for (std::size_t earlier = 0; earlier < row; ++earlier) {
        const double* other = rows.data() + earlier * dim;
        double along = 0;
        for (std::size_t i = 0; i < dim; ++i) along += current[i] * other[i];
        for (std::size_t i = 0; i < dim; ++i) current[i] -= along * other[i];
      }
    }
    double square = 0;
    for (std::size_t i = 0; i < dim; ++i) square += current[i] * current[i];
    const double inverse = 1.0 / std::sqrt(square);
    for (std::size_t i = 0; i < dim; ++i) current[i] *= inverse;
  }
  return {rows.begin(), rows.end()};
}

}  // namespace

std::vector<float> rotation_matrix(int dim) {
  SR_ASSERT(dim >= 1);
  const auto size = static_cast<std::size_t>(dim);
  return std::has_single_bit(size) ? signed_hadamard(size) : random_orthogonal(size);
}

}  // namespace sinkrouter
