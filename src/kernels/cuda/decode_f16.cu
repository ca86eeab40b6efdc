#include "kernels/cuda/decode_kernels.cuh"

namespace sinkrouter::cuda {

DecodeKernel decode_kernel_f16(int head_dim) { return find_kernel<__half>(head_dim); }

}  // namespace sinkrouter::cuda
