#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "kv/kv_view.h"

namespace sinkrouter::cuda {

// New rows of a layer's cache, and what describes the blocks that they complete. Device pointers.
struct AppendParams {
  const void* keys = nullptr;    // [sequences, tokens, kv_heads, head_dim], post-RoPE
  const void* values = nullptr;  // likewise
  DType input_dtype = DType::kF32;
  int tokens = 0;                                 // of each sequence
  const std::int32_t* first_positions = nullptr;  // [sequences]; below 0: nothing is appended
  KvView kv;                                      // written through; lengths are not read
  std::uint8_t* moment_codes = nullptr;           // as MomentsView
  float* moment_scales = nullptr;
  int sketch_bits = 0;                    // 0: no sketches
  std::uint32_t* sketch_codes = nullptr;  // as SketchView
  Float16* sketch_scales = nullptr;
  Float16* sketch_misses = nullptr;  // may be nullptr
  const float* rotation = nullptr;
};

// One launch: a block of threads stores the rows of one block of one KV head, then describes it if
// it is full.
void launch_append(const AppendParams& params, cudaStream_t stream);

}  // namespace sinkrouter::cuda
