#include "kernels/cuda/decode_kernels.cuh"

namespace sinkrouter::cuda {

DecodeKernel decode_kernel_bf16(int head_dim) { return find_kernel<__nv_bfloat16>(head_dim); }

}  // namespace sinkrouter::cuda
