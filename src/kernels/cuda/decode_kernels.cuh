#pragma once

#include "base/check.h"
#include "base/dtype.h"
#include "kernels/cuda/decode_attention.cuh"
#include "kernels/cuda/decode_kernels.h"

namespace sinkrouter::cuda {

// Two blocks of four warps per multiprocessor, each with about 64 KiB of rows on their way beside
// the stages in use.
template <typename Stored, int kHeadDim>
DecodeKernel kernel_of() {
  constexpr int kWarps = 4;
  constexpr int kStage = kWarps * 2 * kTileRows * kHeadDim * static_cast<int>(sizeof(Stored));
  constexpr int kAhead = 64 << 10;
  using Shape = BlockShape<kWarps, 1 + (kAhead + kStage - 1) / kStage, 2>;
  return {decode_attention_kernel<Stored, kHeadDim, Shape>, Shape::kThreads,
          StageLayout<Stored, kHeadDim, Shape>::kBlockBytes, Shape::kBlocks};
}

template <typename Stored>
DecodeKernel find_kernel(int head_dim) {
  DecodeKernel kernel;
  const bool found = visit_int<64, 80, 96, 128>(
      head_dim, [&]<int kHeadDim>() { kernel = kernel_of<Stored, kHeadDim>(); });
  SR_ASSERT(found);
  return kernel;
}

}  // namespace sinkrouter::cuda
