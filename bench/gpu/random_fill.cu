#include <cuda_bf16.h>
#include <cuda_fp8.h>

#include "base/check.h"
#include "kernels/cuda/device.h"
#include "random_fill.h"

namespace sinkrouter::gpu_bench {
namespace {

template <typename Element>
__global__ void fill_kernel(Element* data, std::int64_t elements, std::uint32_t seed) {
  const std::int64_t step = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < elements;
       i += step) {
    std::uint32_t bits = static_cast<std::uint32_t>(i) * 0x9e3779b9u + seed +
                         static_cast<std::uint32_t>(i >> 32) * 0x85ebca6bu;
    bits = (bits ^ (bits >> 16)) * 0x7feb352du;
    bits = (bits ^ (bits >> 15)) * 0x846ca68bu;
    bits ^= bits >> 16;
    const float uniform = static_cast<float>(bits) * 0x1p-31f - 1.0f;
    data[i] = Element(uniform * 1.7320508f);
  }
}

}  // namespace

void fill_random(void* data, DType dtype, std::int64_t elements, std::uint32_t seed,
                 cudaStream_t stream) {
  if (dtype == DType::kF8E4M3) {
    fill_kernel<<<2048, 256, 0, stream>>>(static_cast<__nv_fp8_e4m3*>(data), elements, seed);
  } else {
    SR_ASSERT(dtype == DType::kBF16);
    fill_kernel<<<2048, 256, 0, stream>>>(static_cast<__nv_bfloat16*>(data), elements, seed);
  }
  cuda::check(cudaGetLastError(), "fill_random");
}

}  // namespace sinkrouter::gpu_bench
