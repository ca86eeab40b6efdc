#pragma once

#include "kernels/params.h"

// Scalar fp32 (accumulated in double where it sums) implementations: the specification every other
// backend is compared with. Single-threaded, written to be read.
namespace sinkrouter::reference {

void decode_attention(const DecodeAttentionParams& params);
void block_scores(const BlockScoresParams& params);
void row_logits(const RowLogitsParams& params);
void prefill_attention(const PrefillAttentionParams& params);
void box_bounds(const BoxBoundsParams& params);
void key_box(const KeyBoxParams& params);
void block_moments(const BlockMomentsParams& params);
void row_sketches(const RowSketchesParams& params);
void sketch_queries(const SketchQueriesParams& params);
void row_scores(const RowScoresParams& params);
void row_bounds(const RowBoundsParams& params);
void rms_norm(const RmsNormParams& params);
void rope(const RopeParams& params);
void swiglu(const SwigluParams& params);
void linear(const LinearParams& params);

}  // namespace sinkrouter::reference
