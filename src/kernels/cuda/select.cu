#include "kernels/cuda/select.cuh"

#include "kernels/cuda/launch.cuh"

namespace sinkrouter::cuda {
namespace {

template <bool kRows>
void launch_select(const RouterStep& step, const RouterLimits& limits, cudaStream_t stream) {
  const int chunks = select_chunks(limits);
  const dim3 grid(chunks, limits.sequences * limits.kv_heads);
  const int words =
      std::max((select_words(limits) + chunks - 1) / chunks, 2 * kLeastChunkWords) + 1;
  const int bytes = (kRows ? 1 : 2) * words * static_cast<int>(sizeof(std::uint32_t));
  const auto start = [&](auto kernel) {
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes),
          "shared memory of the router's selection");
    launch(kernel, grid, kSelectThreads, bytes, stream, step);
  };
  switch (head_slots(limits.q_heads / limits.kv_heads)) {
    case 2:
      return start(select_kernel<kRows, 2>);
    case 4:
      return start(select_kernel<kRows, 4>);
    case 8:
      return start(select_kernel<kRows, 8>);
    default:
      return start(select_kernel<kRows, 16>);
  }
}

}  // namespace

void launch_select_granules(const RouterStep& step, const RouterLimits& limits,
                            cudaStream_t stream) {
  launch_select<false>(step, limits, stream);
}

void launch_select_rows(const RouterStep& step, const RouterLimits& limits, cudaStream_t stream) {
  launch_select<true>(step, limits, stream);
}

}  // namespace sinkrouter::cuda
