#include "kernels/cuda/device.h"

#include "base/check.h"

namespace sinkrouter::cuda {

void check(cudaError_t status, const char* what) {
  SR_CHECK(status == cudaSuccess, kInternal, "CUDA: {}: {}", what, cudaGetErrorString(status));
}

DeviceLimits device_limits() {
  int device = 0;
  check(cudaGetDevice(&device), "no usable GPU");
  DeviceLimits limits;
  check(cudaDeviceGetAttribute(&limits.multiprocessors, cudaDevAttrMultiProcessorCount, device),
        "multiprocessors of the GPU");
  check(cudaDeviceGetAttribute(&limits.shared_bytes_per_block,
                               cudaDevAttrMaxSharedMemoryPerBlockOptin, device),
        "shared memory of the GPU");
  int major = 0;
  check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device),
        "compute capability of the GPU");
  limits.overlaps_kernels = major >= 9;
  return limits;
}

}  // namespace sinkrouter::cuda
