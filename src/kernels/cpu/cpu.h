#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/threads.h"
#include "kernels/params.h"

// Highway kernels, one code path per instruction set chosen at run time. Those that
// take `threads` spread their work over them; none allocates, except prefill_attention and linear
// (tokens > 16), which may keep scratch inside the Scratch they are given.
namespace sinkrouter::cpu {

// Memory that kernels for many tokens reuse between calls; grows, never shrinks.
class Scratch {
 public:
  // At least `bytes`, 64-byte aligned; contents are not kept between calls.
  void* reserve(std::int64_t bytes);

 private:
  std::vector<std::byte> storage_;
};

// Bytes of workspace decode_attention needs for this many sequences, heads and threads, whatever
// the lists hold.
std::int64_t decode_attention_workspace(int sequences, int q_heads, int kv_heads, int head_dim,
                                        int threads);

void decode_attention(const DecodeAttentionParams& params, ThreadPool& threads);
void block_scores(const BlockScoresParams& params, ThreadPool& threads);
void box_bounds(const BoxBoundsParams& params, ThreadPool& threads);
void row_logits(const RowLogitsParams& params, ThreadPool& threads);
void prefill_attention(const PrefillAttentionParams& params, ThreadPool& threads, Scratch& scratch);
void row_scores(const RowScoresParams& params, ThreadPool& threads);
void row_bounds(const RowBoundsParams& params, ThreadPool& threads);
void block_moments(const BlockMomentsParams& params);
void key_box(const KeyBoxParams& params);
void row_sketches(const RowSketchesParams& params);
void sketch_queries(const SketchQueriesParams& params);
void rms_norm(const RmsNormParams& params, ThreadPool& threads);
void rope(const RopeParams& params, ThreadPool& threads);
void swiglu(const SwigluParams& params, ThreadPool& threads);
void linear(const LinearParams& params, ThreadPool& threads, Scratch& scratch);

// The instruction set in use, for example "AVX3" or "AVX2".
std::string_view instruction_set();

}  // namespace sinkrouter::cpu
