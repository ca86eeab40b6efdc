#include "kernels/cuda/tier1.cuh"

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/router_dispatch.cuh"

namespace sinkrouter::cuda {

void launch_tier1(const RouterStep& step, const RouterLimits& limits, cudaStream_t stream) {
  const dim3 grid(device_limits().multiprocessors);
  const int heads = std::min(limits.q_heads / limits.kv_heads, kIntHeads);
  const int bytes = heads * kMassBins * static_cast<int>(sizeof(std::uint32_t));
  visit_head_dim(limits.head_dim, [&]<int kDim>() {
    const auto start = [&](auto kernel) {
      check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes),
            "shared memory of the router's tier 1");
      launch(kernel, grid, kTier1Threads, bytes, stream, step);
    };
    SR_CHECK(step.sketches.bits == 2 || step.sketches.bits == 4, kInvalidArgument,
             "router: sketches of {} bits: expected 2 or 4", step.sketches.bits);
    if (step.sketches.bits == 2) {
      start(tier1_kernel<kDim, 2>);
    } else {
      start(tier1_kernel<kDim, 4>);
    }
  });
}

}  // namespace sinkrouter::cuda
