#pragma once

#include <cstdint>

#include "base/dtype.h"

namespace sinkrouter::reference {

inline double element(const void* data, DType dtype, std::int64_t index) {
  double value = 0;
  visit_dtype<float, BFloat16, Float16, Float8E4M3>(
      dtype, [&]<typename T>() { value = to_float(static_cast<const T*>(data)[index]); });
  return value;
}

// Dot product of fp32 `x` with `n` stored elements that start at `offset`.
inline double dot(const float* x, const void* data, DType dtype, std::int64_t offset, int n) {
  double sum = 0;
  for (int i = 0; i < n; ++i) sum += double{x[i]} * element(data, dtype, offset + i);
  return sum;
}

}  // namespace sinkrouter::reference
