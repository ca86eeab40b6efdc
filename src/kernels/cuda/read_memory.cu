#include "kernels/cuda/device.h"
#include "kernels/cuda/read_memory.h"

namespace sinkrouter::cuda {
namespace {

constexpr int kThreads = 512;
constexpr int kInFlight = 8;  // loads of a thread before it uses the first
constexpr int kBlocksPerMultiprocessor = 4;

__global__ void __launch_bounds__(kThreads)
    read_memory_kernel(const uint4* __restrict__ data, std::int64_t vectors, std::uint32_t* sum) {
  const std::int64_t step = std::int64_t{gridDim.x} * kThreads * kInFlight;
  std::uint32_t total = 0;
  for (std::int64_t base = std::int64_t{blockIdx.x} * kThreads * kInFlight + threadIdx.x;
       base < vectors; base += step) {
    uint4 values[kInFlight];
#pragma unroll
    for (int i = 0; i < kInFlight; ++i) {
      const std::int64_t at = base + i * kThreads;
      values[i] = at < vectors ? __ldcs(data + at) : uint4{0, 0, 0, 0};
    }
#pragma unroll
    for (int i = 0; i < kInFlight; ++i) {
      total += values[i].x + values[i].y + values[i].z + values[i].w;
    }
  }
  total = __reduce_add_sync(0xffffffffu, total);
  if (threadIdx.x % 32 == 0) atomicAdd(sum, total);
}

}  // namespace

void read_memory(const void* data, std::int64_t bytes, std::uint32_t* sum, cudaStream_t stream) {
  const int blocks = device_limits().multiprocessors * kBlocksPerMultiprocessor;
  read_memory_kernel<<<blocks, kThreads, 0, stream>>>(static_cast<const uint4*>(data), bytes / 16,
                                                      sum);
  check(cudaGetLastError(), "read_memory");
}

}  // namespace sinkrouter::cuda
