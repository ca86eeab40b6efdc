#include "kernels/cuda/plain_lists.cuh"

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/router_dispatch.cuh"

namespace sinkrouter::cuda {

void launch_plain_lists(const RouterStep& step, const RouterLimits& limits, cudaStream_t stream) {
  const dim3 grid(limits.sequences * limits.kv_heads);
  visit_element(step.kv.dtype, [&]<typename T>() {
    launch(plain_lists_kernel<T>, grid, kListThreads, 0, stream, step);
  });
}

}  // namespace sinkrouter::cuda
