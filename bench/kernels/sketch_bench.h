#pragma once

#include "base/threads.h"
#include "bench/kernels/timing.h"

namespace sinkrouter {

// Tier 1: scoring rows of listed blocks, encoding blocks and queries.
void bench_sketches(const AttentionShape& shape, int bits, ThreadPool& threads);

}  // namespace sinkrouter
