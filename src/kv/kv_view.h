#pragma once

#include <cstdint>

#include "base/block_size.h"
#include "base/dtype.h"

namespace sinkrouter {

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
  // What stored elements are multiplied by, [kv_heads]; nullptr: 1. Of f8e4m3 only.
  const float* key_scales = nullptr;
  const float* value_scales = nullptr;
};

// Elements from keys or values to row `token` of a sequence and KV head.
inline std::int64_t row_offset(const KvView& kv, int sequence, int kv_head, int token) {
  const std::int32_t page = kv.page_table[sequence * kv.page_table_stride + token / kv.page_size];
  return page * kv.page_stride + kv_head * kv.head_stride +
         (token % kv.page_size) * kv.token_stride;
}

// Moments of the post-RoPE keys of each full block, indexed by physical page. A block whose 32 rows
// are not all written has no moments; the kept window always covers it.
//   mean_i = scale * e4m3(codes[0, i]),   deviation_i = scale * e4m3(codes[1, i])
struct MomentsView {
  const std::uint8_t* codes = nullptr;  // [pages, kv_heads, page_size / kBlockSize, 2, head_dim]
  const float* scales = nullptr;        // [pages, kv_heads, page_size / kBlockSize]
};

// Sketches of the post-RoPE keys of each full block (tier 1), indexed by physical page: what the
// block's mean leaves of a key, rotated and quantised.
//   key ~ mean + rotation^T * scales[row] * (code - (2^bits - 1) / 2)
// A word holds 32 / bits consecutive channels of one row: byte b of it, `bits` bits from bit
// bits * j on, is the code of its channel 4 * j + b.
struct SketchView {
  int bits = 2;                          // 2 or 4
  const std::uint32_t* codes = nullptr;  // [pages, kv_heads, page_size / kBlockSize,
                                         //  head_dim * bits / 32, kBlockSize]
  const Float16* scales = nullptr;       // [pages, kv_heads, page_size / kBlockSize, kBlockSize]
  const Float16* misses = nullptr;       // likewise, with 4 bits: at least |key - sketch|, NaN when
                                         // nothing can be said
  const float* rotation = nullptr;       // [head_dim, head_dim], orthogonal, row-major
};

// Boxes around the post-RoPE keys of each full block, indexed by physical page. Rounded outwards,
// so that every key of the block is inside; a channel with a value that is not finite has NaN
// bounds.
struct BoxesView {
  const BFloat16* bounds = nullptr;  // [pages, kv_heads, page_size / kBlockSize, 2, head_dim]:
                                     // least, largest
};

}  // namespace sinkrouter
