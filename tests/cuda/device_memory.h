#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

// Device buffers of the router's checks: what is outside of them must stay as it is.
namespace sinkrouter::cuda {

inline void require(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "%s: %s\n", what, cudaGetErrorString(error));
  std::exit(2);
}

template <typename T>
class DeviceArray {
 public:
  explicit DeviceArray(std::size_t count) : count_(count) {
    require(cudaMalloc(&memory_, bytes() + 2 * kGuard), "cudaMalloc");
    require(cudaMemset(memory_, kPattern, bytes() + 2 * kGuard), "cudaMemset");
  }
  explicit DeviceArray(const std::vector<T>& values) : DeviceArray(values.size()) { set(values); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;
  ~DeviceArray() { cudaFree(memory_); }

  T* data() const { return reinterpret_cast<T*>(static_cast<char*>(memory_) + kGuard); }
  std::size_t size() const { return count_; }
  std::size_t bytes() const { return count_ * sizeof(T); }

  void set(const std::vector<T>& values) {
    require(cudaMemcpy(data(), values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice),
            "copy to the device");
  }
  std::vector<T> get() const {
    std::vector<T> values(count_);
    require(cudaMemcpy(values.data(), data(), bytes(), cudaMemcpyDeviceToHost),
            "copy from the device");
    return values;
  }
  // Whether the bytes around the buffer are as they were.
  bool guarded() const {
    std::vector<unsigned char> guard(kGuard);
    for (const std::size_t at : {std::size_t{0}, kGuard + bytes()}) {
      require(cudaMemcpy(guard.data(), static_cast<char*>(memory_) + at, kGuard,
                         cudaMemcpyDeviceToHost),
              "copy of a guard");
      for (unsigned char byte : guard) {
        if (byte != kPattern) return false;
      }
    }
    return true;
  }

 private:
  static constexpr std::size_t kGuard = 1024;
  static constexpr int kPattern = 0xa5;

  std::size_t count_;
  void* memory_ = nullptr;
};

}  // namespace sinkrouter::cuda
