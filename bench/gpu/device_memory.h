#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <utility>
#include <vector>

#include "kernels/cuda/device.h"

namespace sinkrouter::gpu_bench {

// Device memory that one owner frees.
class DeviceMemory {
 public:
  DeviceMemory() = default;
  explicit DeviceMemory(std::int64_t bytes) : bytes_(bytes) {
    cuda::check(cudaMalloc(&data_, bytes), "cudaMalloc");
  }
  template <typename T>
  explicit DeviceMemory(const std::vector<T>& content)
      : DeviceMemory(static_cast<std::int64_t>(content.size() * sizeof(T))) {
    cuda::check(cudaMemcpy(data_, content.data(), bytes_, cudaMemcpyHostToDevice), "cudaMemcpy");
  }
  DeviceMemory(DeviceMemory&& other) noexcept { swap(other); }
  DeviceMemory& operator=(DeviceMemory&& other) noexcept {
    swap(other);
    return *this;
  }
  ~DeviceMemory() { cudaFree(data_); }

  std::int64_t bytes() const { return bytes_; }
  template <typename T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  void swap(DeviceMemory& other) {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
  }

  void* data_ = nullptr;
  std::int64_t bytes_ = 0;
};

}  // namespace sinkrouter::gpu_bench
