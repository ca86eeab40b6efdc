#include "eval/fixed_point/attention.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>

namespace sinkrouter {
namespace {

// Sums that do not wait for each other.
constexpr std::size_t kLanes = 8;

template <typename A, typename B>
double dot(const A* a, const B* b, std::size_t count) {
  std::array<double, kLanes> sums{};
  std::size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      sums[lane] += double{a[i + lane]} * double{b[i + lane]};
    }
  }
  double sum = 0;
  for (double one : sums) sum += one;
  for (; i < count; ++i) sum += double{a[i]} * double{b[i]};
  return sum;
}

}  // namespace

void softmax(std::span<const double> logits, std::span<double> masses) {
  const double top = *std::ranges::max_element(logits);
  double total = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    masses[i] = std::exp(logits[i] - top);
    total += masses[i];
  }
  for (double& mass : masses) mass /= total;
}

void weighted_sum(std::span<const double> masses, std::span<const float> values,
                  std::span<double> sum) {
  std::ranges::fill(sum, 0.0);
  const float* value = values.data();
  for (double mass : masses) {
    for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += mass * value[i];
    value += sum.size();
  }
}

void dot_products(std::span<const float> keys, std::span<const double> direction,
                  std::span<double> products) {
  const float* key = keys.data();
  for (double& product : products) {
    product = dot(key, direction.data(), direction.size());
    key += direction.size();
  }
}

double norm(std::span<const double> vector) {
  return std::sqrt(dot(vector.data(), vector.data(), vector.size()));
}

double norm(std::span<const float> vector) {
  return std::sqrt(dot(vector.data(), vector.data(), vector.size()));
}

double distance(std::span<const double> a, std::span<const double> b) {
  double square = 0;
  for (std::size_t i = 0; i < a.size(); ++i) square += (a[i] - b[i]) * (a[i] - b[i]);
  return std::sqrt(square);
}

}  // namespace sinkrouter
