#include "kernels/cuda/append.cuh"

#include "kernels/cuda/launch.cuh"

namespace sinkrouter::cuda {
namespace {

template <int kDim, typename In, typename T>
cudaError_t launch_as(const AppendParams& params, cudaStream_t stream) {
  const int blocks = params.tokens == 1 ? 1 : (params.tokens + kBlockSize - 2) / kBlockSize + 1;
  constexpr int kBytes = sizeof(AppendShared<kDim>);
  const auto kernel = append_kernel<kDim, In, T>;
  const cudaError_t error =
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes);
  if (error != cudaSuccess) return error;
  return launch(kernel, dim3(blocks, params.kv.kv_heads, params.kv.sequences), kAppendThreads,
                kBytes, stream, params);
}

template <int kDim, typename In>
cudaError_t launch_from(const AppendParams& params, cudaStream_t stream) {
  switch (params.kv.dtype) {
    case DType::kBF16:
      return launch_as<kDim, In, __nv_bfloat16>(params, stream);
    case DType::kF16:
      return launch_as<kDim, In, __half>(params, stream);
    case DType::kF32:
      return launch_as<kDim, In, float>(params, stream);
    case DType::kF8E4M3:
      return cudaErrorNotSupported;
  }
  return cudaErrorInvalidValue;
}

template <int kDim>
cudaError_t launch_of(const AppendParams& params, cudaStream_t stream) {
  switch (params.input_dtype) {
    case DType::kF32:
      return launch_from<kDim, float>(params, stream);
    case DType::kBF16:
      return launch_from<kDim, __nv_bfloat16>(params, stream);
    case DType::kF16:
      return launch_from<kDim, __half>(params, stream);
    case DType::kF8E4M3:
      return cudaErrorNotSupported;
  }
  return cudaErrorInvalidValue;
}

}  // namespace

cudaError_t launch_append(const AppendParams& params, cudaStream_t stream) {
  if (params.tokens <= 0) return cudaSuccess;
  switch (params.kv.head_dim) {
    case 64:
      return launch_of<64>(params, stream);
    case 80:
      return launch_of<80>(params, stream);
    case 96:
      return launch_of<96>(params, stream);
    case 128:
      return launch_of<128>(params, stream);
    default:
      return cudaErrorNotSupported;
  }
}

}  // namespace sinkrouter::cuda
