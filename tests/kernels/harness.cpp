#include "kernels/harness.h"

#include <cmath>
#include <cstring>
#include <random>

#include "base/dtype.h"

namespace sinkrouter::kernel_tests {

KernelTest::KernelTest()
    : seed((std::uint64_t{std::random_device{}()} << 32) | std::random_device{}()),
      rng(seed),
      trace_(__FILE__, __LINE__, "seed " + std::to_string(seed)) {}

int KernelTest::between(int low, int high) {
  return low + static_cast<int>(rng.below(static_cast<std::uint64_t>(high - low + 1)));
}

std::vector<float> KernelTest::normals(std::int64_t count, float deviation) {
  std::vector<float> values(count);
  for (float& value : values) value = deviation * rng.normal();
  return values;
}

std::string backend_name(const testing::TestParamInfo<KernelTest::ParamType>& info) {
  return info.param->name;
}

testing::AssertionResult close(std::span<const float> actual, std::span<const float> expected,
                               double tolerance) {
  if (actual.size() != expected.size()) return testing::AssertionFailure() << "sizes differ";
  double error = 0;
  double norm = 0;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    if (std::isfinite(actual[i]) && std::isfinite(expected[i])) {
      error += std::pow(double{actual[i]} - expected[i], 2);
      norm += std::pow(double{expected[i]}, 2);
      continue;
    }
    const bool same = std::isnan(expected[i]) ? std::isnan(actual[i]) : actual[i] == expected[i];
    if (!same) {
      return testing::AssertionFailure()
             << "element " << i << " is " << actual[i] << " instead of " << expected[i];
    }
  }
  const double relative = norm > 0 ? std::sqrt(error / norm) : std::sqrt(error);
  if (relative <= tolerance) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "relative error " << relative << " > " << tolerance;
}

std::vector<std::byte> stored(std::span<const float> values, DType dtype) {
  std::vector<std::byte> bytes(values.size() * size_in_bytes(dtype));
  visit_dtype<float, BFloat16, Float16>(dtype, [&]<typename T>() {
    for (std::size_t i = 0; i < values.size(); ++i) {
      const T element = from_float<T>(values[i]);
      std::memcpy(bytes.data() + i * sizeof(T), &element, sizeof(T));
    }
  });
  return bytes;
}

}  // namespace sinkrouter::kernel_tests
