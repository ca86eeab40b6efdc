#pragma once

#include <cstddef>
#include <cstdint>

#include "backend/backend.h"
#include "base/aligned_array.h"
#include "base/threads.h"
#include "router/lists.h"
#include "router/select.h"

namespace sinkrouter::cpu {

// Decode attention under a policy: the router's stages, then the attention kernel over the lists
// they wrote. Buffers grow to the cache's capacity on the first call of a kind and stay.
class RoutedAttention {
 public:
  explicit RoutedAttention(ThreadPool& threads) : threads_(threads) {}

  void run(const KvCache& cache, const DecodeAttention& call);

 private:
  struct Step;

  Step prepare(const KvCache& cache, const DecodeAttention& call);
  void reserve(const Step& step);
  void write_lists(const Step& step);
  void compute_kept_lse(const Step& step);
  void compute_block_scores(const Step& step);
  void compute_row_logits(const Step& step);
  Selection select(const Step& step, int sequence, int kv_head, int worker);
  Selection select_by_mass(const Step& step, const KeptSet& kept, int sequence, int kv_head,
                           int worker);
  Selection select_by_cosine(const Step& step, int sequence, int kv_head);
  void attend(const Step& step);
  void count_reads(const Step& step);
  void observe(const Step& step);

  ThreadPool& threads_;
  AlignedArray<std::int32_t> list_entries_;  // [sequences, kv_heads, list_stride]
  AlignedArray<std::int32_t> list_counts_;   // [sequences, kv_heads]
  AlignedArray<std::uint8_t> routed_;        // [sequences, kv_heads]
  AlignedArray<float> scores_;               // [sequences, q_heads, score_stride]
  AlignedArray<float> kept_lse_;             // [sequences, q_heads]
  AlignedArray<float> cosines_;              // [sequences, q_heads]
  AlignedArray<std::byte> select_scratch_;   // [workers, select_scratch_bytes(...)]
  AlignedArray<std::byte> workspace_;        // of the attention kernel
  AlignedArray<float> observed_logits_;      // [q_heads, longest]
  AlignedArray<float> observed_lse_;         // [q_heads]
};

}  // namespace sinkrouter::cpu
