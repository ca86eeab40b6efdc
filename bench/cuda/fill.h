#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

// Kernels that benchmarks need beside the ones they time.
namespace sinkrouter::cuda {

// Random bits, of which `mask` is kept and `set` is set.
cudaError_t fill_random(std::uint32_t* words, std::int64_t count, std::uint64_t seed,
                        std::uint32_t mask, std::uint32_t set);
// e4m3 codes of normal numbers times `factor`; absolute values where `magnitude`.
cudaError_t fill_normal_codes(std::uint8_t* codes, std::int64_t count, std::uint64_t seed,
                              float factor, int period, int signed_part);
// Reads everything and writes nothing that matters: the ceiling of reads.
cudaError_t read_all(const uint4* words, std::int64_t count, std::uint32_t* sink,
                     cudaStream_t stream);

}  // namespace sinkrouter::cuda
