#pragma once

#include <cstdint>

#include "kv/kv_view.h"
#include "router/lists.h"
#include "sinkrouter/dtype.h"

// Parameters of every kernel: plain data, shapes beside each pointer. Activations are fp32; a
// kernel reads nothing but what its parameters name.
namespace sinkrouter {

// Softmax attention of one query row per q head over the rows the lists name. An empty list gives
// output 0 and lse -inf. With output == nullptr only the lse is computed and no value is read.
struct DecodeAttentionParams {
  const float* queries = nullptr;  // [sequences, q_heads, head_dim], post-RoPE
  int q_heads = 0;                 // a multiple of kv.kv_heads
  float scale = 0;                 // multiplies q.k, usually 1 / sqrt(head_dim)
  KvView kv;
  GranuleLists lists;
  float* output = nullptr;    // [sequences, q_heads, head_dim]
  float* lse = nullptr;       // [sequences, q_heads], natural log; may be nullptr
  void* workspace = nullptr;  // decode_attention_workspace() bytes, 64-byte aligned
  std::int64_t workspace_bytes = 0;
};

// Tier 0: estimated log-mass of every full block for every q head,
//   e_b = log(32) + scale * q.mean_b + 0.5 * scale^2 * sum_i q_i^2 deviation_b,i^2.
struct BlockScoresParams {
  const float* queries = nullptr;  // [sequences, q_heads, head_dim]
  int q_heads = 0;
  float scale = 0;
  KvView kv;  // page table and lengths; keys and values are not read
  MomentsView moments;
  float* scores = nullptr;  // [sequences, q_heads, score_stride]; block b < lengths / kBlockSize
  std::int64_t score_stride = 0;
};

// Queries as sketches meet them: rotation * query, in whole multiples of a step that makes the
// largest 127. A query with a value that is not finite has step NaN and codes 0.
struct SketchQueriesParams {
  const float* queries = nullptr;   // [rows, head_dim], post-RoPE
  const float* rotation = nullptr;  // [head_dim, head_dim]
  int rows = 0;
  int head_dim = 0;
  std::int8_t* codes = nullptr;  // [rows, head_dim]
  float* steps = nullptr;        // [rows]
  float* misses = nullptr;  // [rows], may be nullptr: at least |rotation * query - step * codes|
};

// Rows that listed blocks' sketches tell q heads about.
struct SketchedRowsParams {
  const float* queries = nullptr;            // [sequences, q_heads, head_dim]
  const std::int8_t* query_codes = nullptr;  // [sequences, q_heads, head_dim], of sketch_queries
  const float* query_steps = nullptr;        // [sequences, q_heads]
  int q_heads = 0;
  float scale = 0;
  KvView kv;  // page table and lengths; keys and values are not read
  MomentsView moments;
  SketchView sketches;
  GranuleLists blocks;            // granule kBlockSize; full blocks only
  std::int64_t score_stride = 0;  // of what is written for a q head: row r of the j-th listed block
                                  // at j * kBlockSize + r
};

// Tier 1: estimated logits of all rows of the listed blocks for every q head. With x the query's
// codes, c a row's codes, s its scale and m = (2^bits - 1) / 2,
//   e = scale * q.mean_b + scale * step * s * sum_i x_i (c_i - m)
//       + 0.5 * scale^2 * |q|^2 * sketch_noise(bits) * s^2;
// the last term is the mass that the quantisation noise hides.
struct RowScoresParams : SketchedRowsParams {
  float* scores = nullptr;  // [sequences, q_heads, score_stride]
};

// What the logits of those rows lie between: their exact values, scale * q.key in real arithmetic,
// and the fp32 ones that decode_attention computes. docs/theory.md derives the bounds. Both are
// NaN, or one is infinite, where nothing can be said. Sketches must have misses.
struct RowBoundsParams : SketchedRowsParams {
  const float* query_misses = nullptr;  // [sequences, q_heads], of sketch_queries
  float* lower = nullptr;               // [sequences, q_heads, score_stride]
  float* upper = nullptr;               // [sequences, q_heads, score_stride]
};

// Variance that quantising leaves in a channel of the rotated residual, in squares of a row's
// scale, for the quantiser of RowSketchesParams.
constexpr float sketch_noise(int bits) { return bits == 2 ? 0.1198f : 0.1027f; }

// The most a logit of each full block can be, by the box around its keys:
//   bound_b = sum_i max(scale * q_i * least_b,i, scale * q_i * largest_b,i).
struct BoxBoundsParams {
  const float* queries = nullptr;  // [sequences, q_heads, head_dim]
  int q_heads = 0;
  float scale = 0;
  KvView kv;  // page table and lengths; keys and values are not read
  BoxesView boxes;
  float* bounds = nullptr;  // [sequences, q_heads, bound_stride]; block b < lengths / kBlockSize
  std::int64_t bound_stride = 0;
};

// Exact scaled logits of every row, for the oracle, cosine and inspection.
struct RowLogitsParams {
  const float* queries = nullptr;  // [sequences, q_heads, head_dim]
  int q_heads = 0;
  float scale = 0;
  KvView kv;
  float* logits = nullptr;  // [sequences, q_heads, logit_stride]; rows >= length are not written
  std::int64_t logit_stride = 0;
};

// Dense causal attention of `tokens` consecutive queries of one sequence, the first at position
// `first_position`, over a cache that already holds rows 0 .. first_position + tokens - 1.
struct PrefillAttentionParams {
  const float* queries = nullptr;  // [tokens, q_heads, head_dim], post-RoPE
  int tokens = 0;
  int first_position = 0;
  int q_heads = 0;
  float scale = 0;
  KvView kv;                // sequences == 1, lengths[0] >= first_position + tokens
  float* output = nullptr;  // [tokens, q_heads, head_dim]
};

// Moments of one block of one KV head from its 32 stored rows. When one of them is not finite the
// scale is NaN, so that every score of the block is.
struct BlockMomentsParams {
  const void* keys = nullptr;  // [kBlockSize, head_dim], rows token_stride elements apart
  DType dtype = DType::kBF16;
  std::int64_t token_stride = 0;
  int head_dim = 0;
  std::uint8_t* codes = nullptr;  // [2, head_dim] e4m3: mean, deviation
  float* scale = nullptr;         // [1]
};

// The box around the 32 stored keys of one block of one KV head, as in BoxesView.
struct KeyBoxParams {
  const void* keys = nullptr;  // [kBlockSize, head_dim], rows token_stride elements apart
  DType dtype = DType::kBF16;
  std::int64_t token_stride = 0;
  int head_dim = 0;
  BFloat16* box = nullptr;  // [2, head_dim]
};

// Sketches of one block of one KV head from its 32 stored rows and its mean. With r the rotated
// residual of a row and g = sketch_step(bits) * |r| / sqrt(head_dim): code_i = r_i / g + m to the
// nearest of 0 ... 2^bits - 1, and the scale is the least-squares one, <r, w> / <w, w> with
// w = code - m, in fp16. A row that is all mean has scale 0. What the sketch, as stored, misses of
// the key is told by an upper bound.
struct RowSketchesParams {
  const void* keys = nullptr;  // [kBlockSize, head_dim], rows token_stride elements apart
  DType dtype = DType::kBF16;
  std::int64_t token_stride = 0;
  int head_dim = 0;
  const std::uint8_t* mean_codes = nullptr;  // [head_dim] e4m3
  float mean_scale = 0;
  const float* rotation = nullptr;  // [head_dim, head_dim]
  int bits = 2;                     // 2 or 4
  std::uint32_t* codes = nullptr;   // [head_dim * bits / 32, kBlockSize], packed as in SketchView
  Float16* scales = nullptr;        // [kBlockSize]
  Float16* misses = nullptr;        // [kBlockSize], may be nullptr: at least |key - sketch|; NaN
                                    // where that is not finite or fp16 has no such number
};

// The best step of a uniform quantiser of a standard normal.
constexpr float sketch_step(int bits) { return bits == 2 ? 0.9957f : 0.3352f; }

// output[t] = input[t] * weight / sqrt(mean(input[t]^2) + epsilon)
struct RmsNormParams {
  const float* input = nullptr;  // [tokens, width]
  const void* weight = nullptr;  // [width]
  DType weight_dtype = DType::kF32;
  int tokens = 0;
  int width = 0;
  float epsilon = 0;
  float* output = nullptr;  // [tokens, width], may be input
};

// Rotates pairs (i, i + head_dim / 2) in place by position * inverse_frequency[i]; cos and sin
// times attention_factor.
struct RopeParams {
  float* heads = nullptr;                     // [tokens, heads_per_token, head_dim]
  const std::int32_t* positions = nullptr;    // [tokens]
  const double* inverse_frequency = nullptr;  // [head_dim / 2]
  int tokens = 0;
  int heads_per_token = 0;
  int head_dim = 0;
  float attention_factor = 1.0f;
};

// output = silu(gate) * up
struct SwigluParams {
  const float* gate = nullptr;  // [tokens, width], rows gate_stride apart
  const float* up = nullptr;    // [tokens, width], rows up_stride apart
  std::int64_t gate_stride = 0;
  std::int64_t up_stride = 0;
  int tokens = 0;
  int width = 0;
  float* output = nullptr;  // [tokens, width], contiguous
};

// output[t, o] = sum_i input[t, i] * weight[o, i] (+ output when accumulate): torch.nn.Linear.
struct LinearParams {
  const float* input = nullptr;      // [tokens, inputs]
  const void* weight = nullptr;      // [outputs, inputs], row-major
  DType weight_dtype = DType::kF32;  // f32, bf16 or f16
  int tokens = 0;
  int inputs = 0;
  int outputs = 0;
  bool accumulate = false;
  float* output = nullptr;  // [tokens, outputs]
};

}  // namespace sinkrouter
