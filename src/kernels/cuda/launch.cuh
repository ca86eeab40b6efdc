#pragma once

#include <cuda_runtime.h>

#include "kernels/cuda/device.h"

namespace sinkrouter::cuda {

// Launches so that the kernel's blocks may start while the kernel before it ends (sm_90 and later).
template <typename... Params, typename... Args>
void launch(void (*kernel)(Params...), dim3 grid, int threads, int shared_bytes,
            cudaStream_t stream, const Args&... args) {
  cudaLaunchAttribute attribute;
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config = {};
  config.gridDim = grid;
  config.blockDim = dim3(threads);
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream;
  config.attrs = &attribute;
  config.numAttrs = device_limits().overlaps_kernels ? 1 : 0;
  check(cudaLaunchKernelEx(&config, kernel, Params(args)...), "router");
}

}  // namespace sinkrouter::cuda
