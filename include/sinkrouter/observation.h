#pragma once

#include <cstdint>
#include <functional>
#include <span>

namespace sinkrouter {

// One layer of one sequence at one decode step, seen with full knowledge.
struct AttentionObservation {
  int sequence = 0;  // index in the decoded batch
  int layer = 0;
  int length = 0;                 // rows, the new token's included
  std::span<const float> logits;  // [q_heads, logit_stride]: exact scaled q.k of every row
  std::int64_t logit_stride = 0;
  std::span<const float> lse;                 // [q_heads]: log-sum-exp of all rows
  int granule = 1;                            // rows a list entry names
  std::span<const std::int32_t> list_counts;  // [kv_heads]: entries on each group's list
  std::span<const std::int32_t> lists;        // [kv_heads, list_stride]: granules read, ascending
  std::int64_t list_stride = 0;
  std::span<const std::uint8_t> routed;  // [kv_heads]: 1 when only the kept set is read
};

using AttentionObserver = std::function<void(const AttentionObservation&)>;

}  // namespace sinkrouter
