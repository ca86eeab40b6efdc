#pragma once

#include <cstddef>
#include <cstdint>

#include "backend/backend.h"
#include "base/aligned_array.h"
#include "base/threads.h"
#include "kernels/params.h"
#include "router/lists.h"
#include "router/select.h"

namespace sinkrouter::cpu {

// Decode attention under a policy: the router's tiers, then the attention kernel over the lists
// they wrote. Buffers grow to the cache's capacity on the first call of a kind and stay.
class RoutedAttention {
 public:
  explicit RoutedAttention(ThreadPool& threads) : threads_(threads) {}

  void run(KvCache& cache, const DecodeAttention& call);

 private:
  struct Step;

  Step prepare(const KvCache& cache, const DecodeAttention& call);
  void reserve(const Step& step);
  DecodeAttentionParams attention_params(const Step& step, const GranuleLists& lists);
  void attend(const Step& step);
  void count_reads(const Step& step);

  // routed_observation.cpp
  void observe(const Step& step);

  // routed_audit.cpp
  void audit(const Step& step, KvCache& cache);
  void audit_group(const Step& step, KvCache& cache, int sequence, int kv_head);
  void compare_output(const Step& step, const KvView& kv, std::int64_t head);
  void refresh_pins(const Step& step, KvCache& cache, int sequence, int kv_head);

  // routed_selection.cpp
  void estimate(const Step& step);
  void compute_kept_lse(const Step& step);
  void compute_block_scores(const Step& step);
  void compute_box_bounds(const Step& step);
  void compute_row_logits(const Step& step);
  void choose_blocks(const Step& step);
  void compute_row_scores(const Step& step);
  void write_lists(const Step& step);
  void keep(const Step& step, int group, const Selection& selection);
  void sketch_group_queries(const Step& step, std::int64_t head);
  void fill_sketched_rows(const Step& step, SketchedRowsParams& params);
  Selection select(const Step& step, int sequence, int kv_head, int worker);
  Selection select_granules(const Step& step, int sequence, int kv_head, int worker);
  Selection select_by_bounds(const Step& step, int sequence, int kv_head, int worker);
  void list_needed_rows(const Step& step);
  void mark_needed_rows(const Step& step, int head, int worker);
  Selection select_by_cosine(const Step& step, int sequence, int kv_head);
  std::byte* scratch_of(const Step& step, int worker);

  // routed_bounds.cpp
  void certify_kept_lse(const Step& step);
  void list_unkept_blocks(const Step& step);
  void compute_row_bounds(const Step& step);
  Selection select_from_bounds(const Step& step, int sequence, int kv_head, int worker);

  ThreadPool& threads_;
  AlignedArray<std::int32_t> list_entries_;   // [sequences, kv_heads, list_stride]
  AlignedArray<std::int32_t> list_counts_;    // [sequences, kv_heads]
  AlignedArray<std::int32_t> block_entries_;  // [sequences, kv_heads, blocks]
  AlignedArray<std::int32_t> block_counts_;   // [sequences, kv_heads]
  AlignedArray<std::uint8_t> routed_;         // [sequences, kv_heads]
  AlignedArray<float> scores_;                // [sequences, q_heads, score_stride]
  AlignedArray<float> row_scores_;      // [sequences, q_heads, capacity]; certified: upper bounds
  AlignedArray<float> row_floors_;      // [sequences, q_heads, capacity]: lower bounds
  AlignedArray<float> query_misses_;    // [sequences, q_heads]
  AlignedArray<float> kept_lse_;        // [sequences, q_heads]
  AlignedArray<std::uint64_t> needed_;  // [sequences, q_heads, needed_words(capacity)]
  AlignedArray<RowNeeds> row_needs_;    // [sequences, q_heads]
  AlignedArray<int> heads_marked_;      // [sequences, kv_heads]
  AlignedArray<float> left_;            // [sequences, q_heads]: log-mass tier 0 left
  AlignedArray<std::int8_t> query_codes_;   // [sequences, q_heads, head_dim]
  AlignedArray<float> query_steps_;         // [sequences, q_heads]
  AlignedArray<float> cosines_;             // [sequences, q_heads]
  AlignedArray<std::byte> select_scratch_;  // [workers, select_scratch_bytes(...)]
  AlignedArray<std::byte> workspace_;       // of the attention kernel
  AlignedArray<float> read_lse_;            // [sequences, q_heads], over the lists
  AlignedArray<std::int32_t> audit_list_;   // [pages]: every page
  AlignedArray<float> audit_logits_;        // [group, capacity]
  AlignedArray<float> audit_shares_;        // [group, blocks], the first in the end of all
  AlignedArray<float> audit_scratch_;       // [workers, block_shares_scratch(capacity)]
  AlignedArray<float> audit_output_;        // [group, head_dim]
  AlignedArray<float> audit_masses_;        // [group]
  AlignedArray<float> audit_errors_;        // [group]
  AlignedArray<float> observed_logits_;     // [q_heads, longest]
  AlignedArray<float> observed_lse_;        // [q_heads]
};

}  // namespace sinkrouter::cpu
