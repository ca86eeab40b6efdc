#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

#include "base/threads.h"
#include "kernels/cpu/sketch_shapes.h"
#include "kernels/descriptors.h"
#include "kernels/params.h"

namespace sinkrouter::cpu {

// Blocks [begin, end) of all lists laid end to end, list by list: work(sequence, kv_head, from,
// to).
template <typename Work>
void visit_lists(const SketchedRowsParams& params, std::int64_t begin, std::int64_t end,
                 const Work& work) {
  const KvView& kv = params.kv;
  std::int64_t start = 0;
  for (int list = 0; list < kv.sequences * kv.kv_heads && start < end; ++list) {
    const std::int64_t stop = start + params.blocks.counts[list];
    const auto from = static_cast<int>(std::max(begin, start) - start);
    const auto to = static_cast<int>(std::min(end, stop) - start);
    if (from < to) work(list / kv.kv_heads, list % kv.kv_heads, from, to);
    start = stop;
  }
}

// Checks the parameters and shares the listed blocks out among threads, whatever lists they are on.
template <typename Work>
void for_listed_blocks(KernelOp op, const SketchedRowsParams& params, ThreadPool& threads,
                       const Work& work) {
  constexpr std::int64_t kLeastBlocks = 32;     // fewer are not worth a thread
  constexpr std::int64_t kRangesPerThread = 4;  // uneven cores even out
  const KvView& kv = params.kv;
  SR_ASSERT(kv.kv_heads > 0 && params.q_heads % kv.kv_heads == 0);
  SR_ASSERT(kv.page_size >= kBlockSize && std::has_single_bit(static_cast<unsigned>(kv.page_size)));
  SR_ASSERT(params.blocks.granule == kBlockSize);
  SR_ASSERT(params.sketches.bits == 2 || params.sketches.bits == 4);
  assert_sketch_dim(kv.head_dim);
  require_kernel(op, "cpu", kv.dtype, kv.head_dim, params.q_heads / kv.kv_heads);
  std::int64_t blocks = 0;
  for (int list = 0; list < kv.sequences * kv.kv_heads; ++list) {
    blocks += params.blocks.counts[list];
  }
  const std::int64_t most = threads.size() == 1 ? 1 : threads.size() * kRangesPerThread;
  const std::int64_t range_blocks = std::max(kLeastBlocks, (blocks + most - 1) / most);
  const auto ranges = static_cast<int>((blocks + range_blocks - 1) / range_blocks);
  threads.run(ranges, [&](int range, int) {
    const std::int64_t begin = range * range_blocks;
    visit_lists(params, begin, std::min(blocks, begin + range_blocks), work);
  });
}

}  // namespace sinkrouter::cpu
