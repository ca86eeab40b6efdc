#pragma once

#include <cuda_runtime_api.h>

// What every launch needs from the CUDA runtime.
namespace sinkrouter::cuda {

// Throws Error naming `what` when a CUDA call failed.
void check(cudaError_t status, const char* what);

struct DeviceLimits {
  int multiprocessors = 0;
  int shared_bytes_per_block = 0;  // after opting in
  bool overlaps_kernels = false;   // programmatic dependent launch
};

// Of the current device. Throws Error when there is none or its driver is too old.
DeviceLimits device_limits();

}  // namespace sinkrouter::cuda
