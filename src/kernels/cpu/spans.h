#pragma once

#include <algorithm>

#include "kv/kv_view.h"

namespace sinkrouter::cpu {

// Cuts every (sequence, KV head) of a cache into spans of at most `span_units` units, a unit being
// `unit_tokens` tokens; units the length does not fill are left out.
class SpanGrid {
 public:
  struct Span {
    int sequence;
    int kv_head;
    int begin;  // units
    int end;    // may be <= begin: nothing to do
  };

  SpanGrid(const KvView& kv, int unit_tokens, int span_units)
      : kv_(kv), unit_tokens_(unit_tokens), span_units_(span_units) {
    int longest = 0;
    for (int s = 0; s < kv.sequences; ++s) longest = std::max(longest, kv.lengths[s]);
    spans_ = (longest / unit_tokens + span_units - 1) / span_units;
  }

  int tasks() const { return kv_.sequences * kv_.kv_heads * spans_; }

  Span at(int task) const {
    const int sequence = task / spans_ / kv_.kv_heads;
    const int begin = task % spans_ * span_units_;
    const int end = std::min(begin + span_units_, kv_.lengths[sequence] / unit_tokens_);
    return {sequence, task / spans_ % kv_.kv_heads, begin, end};
  }

 private:
  const KvView& kv_;
  int unit_tokens_;
  int span_units_;
  int spans_ = 0;
};

}  // namespace sinkrouter::cpu
