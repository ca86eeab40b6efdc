#include "kernels/cuda/routed_attention.h"

namespace sinkrouter::cuda {

void launch_routed_attention(const RouterStep& step, const RouterLimits& limits,
                             const DecodeParams& attention, const DecodeGrid& grid,
                             cudaStream_t stream) {
  launch_router(step, limits, stream);
  DecodeParams params = attention;
  params.kv = step.kv;
  params.lists = step.lists;
  params.q_heads = step.q_heads;
  params.scale = step.scale;
  decode_attention(params, grid, stream);
}

}  // namespace sinkrouter::cuda
