#include "kernels/cuda/tier1.cuh"

#include "kernels/cuda/launch.cuh"

namespace sinkrouter::cuda {
namespace {

template <int kDim, int kBits>
cudaError_t launch_as(const RouterStep& step, cudaStream_t stream) {
  constexpr int kPerMultiprocessor = 3;
  return launch(tier1_kernel<kDim, kBits>, dim3(multiprocessors() * kPerMultiprocessor),
                kTier1Threads, sizeof(ListedBlocks), stream, step);
}

template <int kDim>
cudaError_t launch_of(const RouterStep& step, cudaStream_t stream) {
  return step.sketches.bits == 2   ? launch_as<kDim, 2>(step, stream)
         : step.sketches.bits == 4 ? launch_as<kDim, 4>(step, stream)
                                   : cudaErrorInvalidValue;
}

}  // namespace

cudaError_t launch_tier1(const RouterStep& step, const RouterLimits& limits, cudaStream_t stream) {
  switch (limits.head_dim) {
    case 64:
      return launch_of<64>(step, stream);
    case 80:
      return launch_of<80>(step, stream);
    case 96:
      return launch_of<96>(step, stream);
    case 128:
      return launch_of<128>(step, stream);
    default:
      return cudaErrorNotSupported;
  }
}

}  // namespace sinkrouter::cuda
