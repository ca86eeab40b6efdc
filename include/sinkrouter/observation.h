#pragma once

#include <cstdint>
#include <functional>
#include <span>

namespace sinkrouter {

// The rows of one layer of the observed sequence, as the cache holds them.
class ObservedRows {
 public:
  virtual ~ObservedRows() = default;
  // All rows of a KV head, [length, head_dim]; keys are post-RoPE.
  virtual void copy_keys(int kv_head, std::span<float> rows) const = 0;
  virtual void copy_values(int kv_head, std::span<float> rows) const = 0;
};

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
  float scale = 0;                       // what q.k is multiplied by
  std::span<const float> queries;        // [q_heads, head_dim], post-RoPE
  std::span<const float> output;         // [q_heads, head_dim], of the rows read
  std::span<const float> residual;       // [hidden_size]: the stream that the layer adds to
  const ObservedRows* rows = nullptr;    // valid during the call

  std::span<const std::int32_t> list(int kv_head) const {
    return lists.subspan(static_cast<std::size_t>(kv_head * list_stride),
                         static_cast<std::size_t>(list_counts[static_cast<std::size_t>(kv_head)]));
  }
};

using AttentionObserver = std::function<void(const AttentionObservation&)>;

}  // namespace sinkrouter
