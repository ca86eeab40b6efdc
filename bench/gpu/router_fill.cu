#include "router_fill.h"

#include <cuda_fp8.h>

namespace sinkrouter::gpu_bench {
namespace {

__device__ std::uint64_t mixed(std::uint64_t z) {
  z += 0x9e3779b97f4a7c15ull;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}

__global__ void random_kernel(std::uint32_t* words, std::int64_t count, std::uint64_t seed,
                              std::uint32_t mask, std::uint32_t set) {
  for (std::int64_t i = blockIdx.x * std::int64_t{blockDim.x} + threadIdx.x; i < count;
       i += std::int64_t{gridDim.x} * blockDim.x) {
    words[i] = (static_cast<std::uint32_t>(mixed(seed + i)) & mask) | set;
  }
}

// Of each `period` codes the first `signed_part` keep their signs, the others are all `factor`.
__global__ void codes_kernel(std::uint8_t* codes, std::int64_t count, std::uint64_t seed,
                             float factor, int period, int signed_part) {
  for (std::int64_t i = blockIdx.x * std::int64_t{blockDim.x} + threadIdx.x; i < count;
       i += std::int64_t{gridDim.x} * blockDim.x) {
    const std::uint64_t bits = mixed(seed + i);
    const float u = (static_cast<float>(bits & 0xffffff) + 0.5f) * 0x1p-24f;
    const float v = static_cast<float>(bits >> 40) * 0x1p-24f;
    const float normal = sqrtf(-2.0f * logf(u)) * cospif(2.0f * v);
    const float x = i % period < signed_part ? normal * factor : factor;
    codes[i] = __nv_cvt_float_to_fp8(x, __NV_SATFINITE, __NV_E4M3);
  }
}

}  // namespace

cudaError_t fill_bits(std::uint32_t* words, std::int64_t count, std::uint64_t seed,
                      std::uint32_t mask, std::uint32_t set) {
  random_kernel<<<1024, 256>>>(words, count, seed, mask, set);
  return cudaGetLastError();
}

cudaError_t fill_normal_codes(std::uint8_t* codes, std::int64_t count, std::uint64_t seed,
                              float factor, int period, int signed_part) {
  codes_kernel<<<1024, 256>>>(codes, count, seed, factor, period, signed_part);
  return cudaGetLastError();
}

}  // namespace sinkrouter::gpu_bench
