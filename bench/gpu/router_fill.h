#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

// Kernels that benchmarks need beside the ones they time.
namespace sinkrouter::gpu_bench {

// Random bits, of which `mask` is kept and `set` is set.
cudaError_t fill_bits(std::uint32_t* words, std::int64_t count, std::uint64_t seed,
                      std::uint32_t mask, std::uint32_t set);
// e4m3 codes of normal numbers times `factor`. Of each `period` codes the first
// `signed_part` keep their signs, the others are all `factor`.
cudaError_t fill_normal_codes(std::uint8_t* codes, std::int64_t count, std::uint64_t seed,
                              float factor, int period, int signed_part);

}  // namespace sinkrouter::gpu_bench
