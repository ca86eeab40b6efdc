#include "kernels/cuda/decode_kernels.cuh"

namespace sinkrouter::cuda {

DecodeKernel decode_kernel_f8e4m3(int head_dim) { return find_kernel<__nv_fp8_e4m3>(head_dim); }

}  // namespace sinkrouter::cuda
