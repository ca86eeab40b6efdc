#include "eval/fixed_point/output_map.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace sinkrouter {
namespace {

template <typename T>
double norm_under(std::span<const double> gram, std::span<const T> value) {
  double square = 0;
  for (std::size_t i = 0; i < value.size(); ++i) {
    double row = 0;
    for (std::size_t j = 0; j < value.size(); ++j) row += gram[i * value.size() + j] * value[j];
    square += row * value[i];
  }
  return std::sqrt(std::max(0.0, square));
}

double trace(std::span<const double> matrix, std::size_t width) {
  double sum = 0;
  for (std::size_t i = 0; i < width; ++i) sum += matrix[i * width + i];
  return sum;
}

// The largest eigenvalue of G, which has none below 0, is at most (trace G^m)^(1/m), and that is at
// most width^(1/m) times it; m = 2^8 by squaring, with the trace divided out each time.
double largest_eigenvalue(std::vector<double> matrix, std::size_t width) {
  constexpr int kSquarings = 8;
  double log_bound = 0;
  double exponent = 1;
  std::vector<double> square(matrix.size());
  for (int step = 0;; ++step, exponent /= 2) {
    const double sum = trace(matrix, width);
    if (!(sum > 0)) return 0;
    log_bound += exponent * std::log(sum);
    if (step == kSquarings) return std::exp(log_bound);
    for (double& x : matrix) x /= sum;
    std::ranges::fill(square, 0.0);
    for (std::size_t i = 0; i < width; ++i) {
      for (std::size_t k = 0; k < width; ++k) {
        const double factor = matrix[i * width + k];
        for (std::size_t j = 0; j < width; ++j) {
          square[i * width + j] += factor * matrix[k * width + j];
        }
      }
    }
    matrix.swap(square);
  }
}

}  // namespace

OutputMap::OutputMap(std::span<const float> columns, int head_dim)
    : gram_(static_cast<std::size_t>(head_dim) * head_dim) {
  const auto width = static_cast<std::size_t>(head_dim);
  for (std::size_t row = 0; row < columns.size(); row += width) {
    const float* weights = columns.data() + row;
    for (std::size_t i = 0; i < width; ++i) {
      const double factor = weights[i];
      for (std::size_t j = 0; j < width; ++j) gram_[i * width + j] += factor * weights[j];
    }
  }
  largest_gain_ = std::sqrt(largest_eigenvalue(gram_, width));
}

double OutputMap::norm(std::span<const double> value) const {
  return norm_under<double>(gram_, value);
}
double OutputMap::norm(std::span<const float> value) const {
  return norm_under<float>(gram_, value);
}

}  // namespace sinkrouter
