#pragma once

#include "kernels/cuda/decode_attention.h"

namespace sinkrouter::cuda {

// A compiled kernel of decode attention and how to launch it.
struct DecodeKernel {
  void (*entry)(DecodeParams) = nullptr;
  int threads = 0;
  int shared_bytes = 0;
  int blocks = 0;  // per multiprocessor
};

// For each dtype of the cache, in a source of its own; head_dim must be one of 64, 80, 96, 128.
DecodeKernel decode_kernel_bf16(int head_dim);
DecodeKernel decode_kernel_f16(int head_dim);
DecodeKernel decode_kernel_f8e4m3(int head_dim);

}  // namespace sinkrouter::cuda
