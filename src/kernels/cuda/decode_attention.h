#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "kv/kv_view.h"
#include "router/lists.h"
#include "sinkrouter/dtype.h"

namespace sinkrouter::cuda {

// Softmax attention of one query row per q head over the rows the lists name, as
// DecodeAttentionParams of kernels/params.h says; every pointer is to device memory, and lengths,
// page table, lists and counts are read there only. A list's granules may be any distinct ones in
// any order; rows at or past the length count as not listed.
//
// Arithmetic: queries are rounded to the dtype of the cache (to fp16 where that is f8e4m3, whose
// elements are exact in fp16), products are summed in fp32, and the weights are rounded to the same
// dtype before they meet the values. The same inputs give the same bits on the same grid.
struct DecodeParams {
  const void* queries = nullptr;     // [sequences, q_heads, head_dim], post-RoPE
  DType query_dtype = DType::kBF16;  // f32, bf16 or f16
  int q_heads = 0;                   // kv.kv_heads times 1 to 16
  float scale = 0;                   // multiplies q.k, usually 1 / sqrt(head_dim)
  KvView kv;               // bf16, f16 or f8e4m3; rows and strides in whole multiples of 16 bytes
  GranuleLists lists;      // any granule
  void* output = nullptr;  // [sequences, q_heads, head_dim]; nullptr: values are not read
  DType output_dtype = DType::kF32;  // f32, bf16 or f16
  float* lse = nullptr;              // [sequences, q_heads], natural log; may be nullptr
  // decode_workspace() bytes, 16-byte aligned, all zero before the first launch and left so that
  // the next one can follow; launches that may overlap need one each.
  void* workspace = nullptr;
  std::int64_t workspace_bytes = 0;
};

// How the kernel of a dtype and head dim fills the current device. Ask once, not per launch.
struct DecodeGrid {
  DType kv_dtype = DType::kBF16;
  int head_dim = 0;
  int blocks = 0;
  // Launches may be set up while the kernel before them in the stream still runs (sm_90 and up);
  // they read and write nothing until it is done.
  bool overlaps = false;
};

// Throws Error when no kernel fits ("no cuda kernel for decode d=72 bf16 ...; there are: ...") and
// when there is no usable GPU.
DecodeGrid decode_grid(DType kv_dtype, int head_dim);

// Depends on the grid, head dim and numbers of heads and sequences alone.
std::int64_t decode_workspace(const DecodeParams& params, const DecodeGrid& grid);

// One launch, whose shape depends on the grid alone: no allocation, no wait, no read of device
// memory from the host, so that it can be captured in a CUDA graph. Throws Error, before anything
// is launched, on parameters that no kernel fits and on null pointers, misaligned rows or a
// workspace that is too small.
void decode_attention(const DecodeParams& params, const DecodeGrid& grid, cudaStream_t stream);

}  // namespace sinkrouter::cuda
