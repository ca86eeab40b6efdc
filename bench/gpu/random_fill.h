#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "sinkrouter/dtype.h"

namespace sinkrouter::gpu_bench {

// Fills device memory with bf16 or f8e4m3 numbers, uniform with variance 1. Zeros would read
// faster.
void fill_random(void* data, DType dtype, std::int64_t elements, std::uint32_t seed,
                 cudaStream_t stream);

}  // namespace sinkrouter::gpu_bench
