#include "kernels/cuda/tier0.cuh"

#include <algorithm>

#include "kernels/cuda/launch.cuh"

namespace sinkrouter::cuda {
namespace {

template <int kDim, typename T>
cudaError_t launch_as(const RouterStep& step, const RouterLimits& limits, cudaStream_t stream) {
  constexpr int kPerMultiprocessor = 4;
  const std::int64_t score_units =
      std::int64_t{limits.length / kBlockSize + kScoreUnit - 1} / kScoreUnit;
  const std::int64_t units =
      (score_units + kept_units(limits) + 1) * (std::int64_t{limits.sequences} * limits.kv_heads);
  const auto grid = static_cast<int>(
      std::min<std::int64_t>(units, std::int64_t{multiprocessors()} * kPerMultiprocessor));
  return launch(tier0_kernel<kDim, T>, dim3(grid), kTier0Threads, sizeof(Tier0Shared<kDim>), stream,
                step);
}

template <int kDim>
cudaError_t launch_of(const RouterStep& step, const RouterLimits& limits, cudaStream_t stream) {
  switch (step.kv.dtype) {
    case DType::kBF16:
      return launch_as<kDim, __nv_bfloat16>(step, limits, stream);
    case DType::kF16:
      return launch_as<kDim, __half>(step, limits, stream);
    case DType::kF32:
      return launch_as<kDim, float>(step, limits, stream);
    case DType::kF8E4M3:
      return cudaErrorNotSupported;
  }
  return cudaErrorInvalidValue;
}

}  // namespace

cudaError_t launch_tier0(const RouterStep& step, const RouterLimits& limits, cudaStream_t stream) {
  switch (limits.head_dim) {
    case 64:
      return launch_of<64>(step, limits, stream);
    case 80:
      return launch_of<80>(step, limits, stream);
    case 96:
      return launch_of<96>(step, limits, stream);
    case 128:
      return launch_of<128>(step, limits, stream);
    default:
      return cudaErrorNotSupported;
  }
}

}  // namespace sinkrouter::cuda
