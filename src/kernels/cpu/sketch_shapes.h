#pragma once

#include "base/check.h"

namespace sinkrouter::cpu {

inline constexpr int kMostSketchDim = 128;

inline void assert_sketch_dim(int head_dim) {
  constexpr int kMultiple = 16;  // a vector of the widest instruction set, a word of 2-bit codes
  SR_ASSERT(head_dim > 0 && head_dim <= kMostSketchDim && head_dim % kMultiple == 0);
}

}  // namespace sinkrouter::cpu
