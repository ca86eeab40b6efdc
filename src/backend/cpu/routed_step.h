#pragma once

#include <cstdint>
#include <span>

#include "backend/cpu/routed_attention.h"
#include "router/kept_set.h"

namespace sinkrouter::cpu {

// One call with what every stage of it needs.
struct RoutedAttention::Step {
  const DecodeAttention& call;
  KvView kv;
  MomentsView moments;
  SketchView sketches;
  BoxesView boxes;
  GranuleLists lists;   // what the attention kernel reads
  GranuleLists blocks;  // granule kBlockSize: the kept set, then tier 0's choice
  int sequences = 0;
  int group = 0;     // q heads per KV head
  int capacity = 0;  // the longest a sequence can get
  std::int64_t score_stride = 0;
  std::int64_t select_scratch_stride = 0;

  bool exact() const { return call.policy->kind == PolicyKind::kOracle; }
  bool by_mass() const {
    const PolicyKind kind = call.policy->kind;
    return kind == PolicyKind::kMargin || kind == PolicyKind::kRoute || exact();
  }
  bool by_bounds() const { return call.policy->kind == PolicyKind::kQuest; }
  bool scores_blocks() const { return by_mass() && !exact(); }
  bool scores_rows() const {
    return call.policy->kind == PolicyKind::kMargin && lists.granule < kBlockSize;
  }
  bool certified() const { return call.policy->kind == PolicyKind::kCertified; }
  bool reads_sketches() const { return scores_rows() || certified(); }
  bool audited() const {
    return call.audit != nullptr && call.policy->kind == PolicyKind::kMargin &&
           call.policy->audit_share > 0;
  }
  float epsilon(int kv_head) const {
    const float wanted = call.policy->epsilon;
    return audited() ? wanted * call.audit->tightening(call.layer, kv_head) : wanted;
  }
  std::int64_t groups() const { return std::int64_t{sequences} * kv.kv_heads; }
  std::int64_t heads() const { return std::int64_t{sequences} * call.q_heads; }
  std::int64_t first_head(int sequence, int kv_head) const {
    return std::int64_t{sequence} * call.q_heads + std::int64_t{kv_head} * group;
  }
  const float* query(int sequence, int q_head) const {
    return call.queries + (std::int64_t{sequence} * call.q_heads + q_head) * kv.head_dim;
  }
  std::span<const std::int32_t> chosen_blocks(int sequence, int kv_head) const {
    const int count = blocks.counts[sequence * kv.kv_heads + kv_head];
    return {blocks.list(sequence, kv_head, kv.kv_heads), static_cast<std::size_t>(count)};
  }
  KeptSet kept(int sequence, int kv_head, int granule) const {
    return make_kept_set(kv.lengths[sequence], granule, call.policy->window,
                         call.tables->pinned(sequence, call.layer, kv_head).list());
  }
};

}  // namespace sinkrouter::cpu
