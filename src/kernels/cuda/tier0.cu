#include "kernels/cuda/tier0.cuh"

#include <algorithm>

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/router_dispatch.cuh"

namespace sinkrouter::cuda {

void launch_tier0(const RouterStep& step, const RouterLimits& limits, cudaStream_t stream) {
  constexpr int kPerMultiprocessor = 8;
  const std::int64_t score_units = (limits.length / kBlockSize + kScoreUnit - 1) / kScoreUnit;
  const std::int64_t units =
      (score_units + kept_units(limits) + 1) * (std::int64_t{limits.sequences} * limits.kv_heads);
  const std::int64_t most = std::int64_t{device_limits().multiprocessors} * kPerMultiprocessor;
  const dim3 grid(static_cast<unsigned>(std::min(units, most)));
  visit_head_dim(limits.head_dim, [&]<int kDim>() {
    visit_element(step.kv.dtype, [&]<typename T>() {
      launch(tier0_kernel<kDim, T>, grid, kTier0Threads, sizeof(Tier0Shared<kDim>), stream, step);
    });
  });
}

}  // namespace sinkrouter::cuda
