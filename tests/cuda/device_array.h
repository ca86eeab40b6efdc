#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "device_buffer.h"

namespace sinkrouter::cuda_tests {

// A guarded device buffer of elements.
template <typename T>
class DeviceArray {
 public:
  explicit DeviceArray(std::int64_t count)
      : buffer_(count * static_cast<std::int64_t>(sizeof(T))) {}
  explicit DeviceArray(const std::vector<T>& values) : buffer_(std::span<const T>(values)) {}

  T* data() const { return buffer_.as<T>(); }
  std::vector<T> get() const { return buffer_.read<T>(); }
  bool guarded() const { return buffer_.guards_intact(); }

 private:
  DeviceBuffer buffer_;
};

}  // namespace sinkrouter::cuda_tests
