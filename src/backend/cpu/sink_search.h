#pragma once

#include "backend/backend.h"
#include "base/aligned_array.h"
#include "base/threads.h"

namespace sinkrouter::cpu {

// Where queries look, all logits computed: the mean attention mass of each block.
class SinkSearch {
 public:
  explicit SinkSearch(ThreadPool& threads) : threads_(threads) {}

  // Pins what is found in `cache`.
  void run(KvCache& cache, SequenceId sequence, const PrefillAttention& call);

 private:
  ThreadPool& threads_;
  AlignedArray<float> logits_;   // [q_heads, length]
  AlignedArray<float> masses_;   // [q_heads, blocks]
  AlignedArray<float> scratch_;  // [workers, block_shares_scratch(length)]
};

}  // namespace sinkrouter::cpu
