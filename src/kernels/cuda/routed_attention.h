#pragma once

#include "kernels/cuda/decode_attention.h"
#include "kernels/cuda/router_step.h"

namespace sinkrouter::cuda {

// The router, then attention over what it lists: one chain of launches in a stream, for a graph or
// outside of one. `attention` gives queries, output, lse and workspace; cache, lists, q heads and
// scale are the step's.
void launch_routed_attention(const RouterStep& step, const RouterLimits& limits,
                             const DecodeParams& attention, const DecodeGrid& grid,
                             cudaStream_t stream);

}  // namespace sinkrouter::cuda
