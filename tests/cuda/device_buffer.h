#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "kernels/cuda/device.h"

namespace sinkrouter::cuda_tests {

// Device memory between guard zones, poisoned with a byte pattern that is NaN in every float dtype.
class DeviceBuffer {
 public:
  explicit DeviceBuffer(std::int64_t bytes) : bytes_(bytes) {
    cuda::check(cudaMalloc(&memory_, bytes + 2 * kGuardBytes), "cudaMalloc");
    cuda::check(cudaMemset(memory_, kPoison, bytes + 2 * kGuardBytes), "cudaMemset");
  }
  template <typename T>
  explicit DeviceBuffer(std::span<const T> content)
      : DeviceBuffer(static_cast<std::int64_t>(content.size_bytes())) {
    if (content.empty()) return;
    cuda::check(cudaMemcpy(data(), content.data(), content.size_bytes(), cudaMemcpyHostToDevice),
                "copy to the device");
  }
  ~DeviceBuffer() { cudaFree(memory_); }
  DeviceBuffer(const DeviceBuffer&) = delete;
  DeviceBuffer& operator=(const DeviceBuffer&) = delete;

  std::int64_t bytes() const { return bytes_; }
  void* data() const { return static_cast<char*>(memory_) + kGuardBytes; }
  template <typename T>
  T* as() const {
    return static_cast<T*>(data());
  }
  void fill(int byte) { cuda::check(cudaMemset(data(), byte, bytes_), "cudaMemset"); }

  template <typename T>
  std::vector<T> read() const {
    std::vector<T> content(bytes_ / sizeof(T));
    cuda::check(
        cudaMemcpy(content.data(), data(), content.size() * sizeof(T), cudaMemcpyDeviceToHost),
        "copy from the device");
    return content;
  }
  bool guards_intact() const {
    std::vector<std::uint8_t> guard(kGuardBytes);
    for (std::int64_t at : {std::int64_t{0}, kGuardBytes + bytes_}) {
      cuda::check(cudaMemcpy(guard.data(), static_cast<char*>(memory_) + at, kGuardBytes,
                             cudaMemcpyDeviceToHost),
                  "copy from the device");
      for (std::uint8_t byte : guard) {
        if (byte != kPoison) return false;
      }
    }
    return true;
  }

 private:
  static constexpr std::int64_t kGuardBytes = 512;
  static constexpr std::uint8_t kPoison = 0xff;

  void* memory_ = nullptr;
  std::int64_t bytes_ = 0;
};

}  // namespace sinkrouter::cuda_tests
