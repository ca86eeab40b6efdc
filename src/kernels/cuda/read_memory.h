#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace sinkrouter::cuda {

// Reads `bytes` (a multiple of 16, 16-byte aligned) once and adds their bits up: what reading
// memory costs at best, the ceiling that kernels are compared with. *sum is added to.
void read_memory(const void* data, std::int64_t bytes, std::uint32_t* sum, cudaStream_t stream);

}  // namespace sinkrouter::cuda
