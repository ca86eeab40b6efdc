#include "kernels/cuda/append.cuh"

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/router_dispatch.cuh"

namespace sinkrouter::cuda {

void launch_append(const AppendParams& params, cudaStream_t stream) {
  if (params.tokens <= 0) return;
  const int blocks = params.tokens == 1 ? 1 : (params.tokens + kBlockSize - 2) / kBlockSize + 1;
  const dim3 grid(blocks, params.kv.kv_heads, params.kv.sequences);
  visit_head_dim(params.kv.head_dim, [&]<int kDim>() {
    visit_element(params.input_dtype, [&]<typename In>() {
      visit_element(params.kv.dtype, [&]<typename T>() {
        constexpr int kBytes = sizeof(AppendShared<kDim>);
        const auto kernel = append_kernel<kDim, In, T>;
        check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes),
              "shared memory of append");
        launch(kernel, grid, kAppendThreads, kBytes, stream, params);
      });
    });
  });
}

}  // namespace sinkrouter::cuda
