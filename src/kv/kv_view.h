#pragma once

#include <cstdint>

#include "sinkrouter/dtype.h"

namespace sinkrouter {

// Tokens whose keys share one set of moments (tier 0). Every page size is a multiple.
inline constexpr int kBlockSize = 32;

// One layer's paged KV cache as kernels see it: pointers and strides, nothing owned. Row `t` of
// sequence `s` and KV head `h` starts at
//   keys + page_table[s * page_table_stride + t / page_size] * page_stride
//        + h * head_stride + (t % page_size) * token_stride        (strides in elements).
struct KvView {
  const void* keys = nullptr;    // [pages, kv_heads, page_size, head_dim] by the strides below
  const void* values = nullptr;  // likewise
  DType dtype = DType::kBF16;
  std::int64_t page_stride = 0;
  std::int64_t head_stride = 0;
  std::int64_t token_stride = 0;
  int page_size = 64;
  int kv_heads = 0;
  int head_dim = 0;
  int sequences = 0;
  const std::int32_t* page_table = nullptr;  // [sequences, page_table_stride], physical pages
  std::int64_t page_table_stride = 0;
  const std::int32_t* lengths = nullptr;  // [sequences], tokens
};

// Moments of the post-RoPE keys of each full block, indexed by physical page. A block whose 32 rows
// are not all written has no moments; the kept window always covers it.
//   mean_i = scale * e4m3(codes[0, i]),   deviation_i = scale * e4m3(codes[1, i])
struct MomentsView {
  const std::uint8_t* codes = nullptr;  // [pages, kv_heads, page_size / kBlockSize, 2, head_dim]
  const float* scales = nullptr;        // [pages, kv_heads, page_size / kBlockSize]
};

}  // namespace sinkrouter
