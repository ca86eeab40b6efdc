#include "kernels/cuda/plain_lists.cuh"

#include "kernels/cuda/launch.cuh"

namespace sinkrouter::cuda {

cudaError_t launch_plain_lists(const RouterStep& step, const RouterLimits& limits,
                               cudaStream_t stream) {
  const dim3 grid(limits.sequences * limits.kv_heads);
  switch (step.kv.dtype) {
    case DType::kBF16:
      return launch(plain_lists_kernel<__nv_bfloat16>, grid, kSelectThreads, 0, stream, step);
    case DType::kF16:
      return launch(plain_lists_kernel<__half>, grid, kSelectThreads, 0, stream, step);
    case DType::kF32:
      return launch(plain_lists_kernel<float>, grid, kSelectThreads, 0, stream, step);
    case DType::kF8E4M3:
      return cudaErrorNotSupported;
  }
  return cudaErrorInvalidValue;
}

}  // namespace sinkrouter::cuda
