#include "kernels/cuda/select.cuh"

#include "kernels/cuda/launch.cuh"

namespace sinkrouter::cuda {

cudaError_t launch_select_blocks(const RouterStep& step, const RouterLimits& limits,
                                 cudaStream_t stream) {
  return launch(select_blocks_kernel, dim3(limits.sequences * limits.q_heads), kSelectThreads,
                sizeof(SelectBlock), stream, step);
}

cudaError_t launch_select_rows(const RouterStep& step, const RouterLimits& limits,
                               cudaStream_t stream) {
  return launch(select_rows_kernel, dim3(limits.sequences * limits.q_heads), kSelectThreads,
                sizeof(SelectBlock), stream, step);
}

}  // namespace sinkrouter::cuda
