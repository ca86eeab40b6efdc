#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/cuda/router_step.h"

// Shapes that launches and kernels of the router agree on.
namespace sinkrouter::cuda {

inline constexpr int kKeptBlocks = 2;  // of the kept set, that a block of threads attends to

// Slots of q heads in what is kept for each candidate: a power of two, so that loads are whole.
constexpr int head_slots(int group) {
  return group <= 2 ? 2 : group <= 4 ? 4 : group <= 8 ? 8 : 16;
}

// A group's candidates are selected in chunks of words, 32 candidates each.
inline constexpr int kLeastChunkWords = 64;
inline constexpr int kMostChunkWords = 8192;

inline int select_words(const RouterLimits& limits) { return limits.length / 32 + 1; }

inline int select_chunks(const RouterLimits& limits) {
  constexpr int kBlocksAtOnce = 132;
  const int words = select_words(limits);
  const int groups = std::max(1, limits.sequences * limits.kv_heads);
  const int wanted = std::clamp(kBlocksAtOnce / groups, 1, (words - 1) / kLeastChunkWords + 1);
  return std::max(wanted, (words - 1) / kMostChunkWords + 1);
}

}  // namespace sinkrouter::cuda
