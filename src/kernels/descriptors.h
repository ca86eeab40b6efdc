#pragma once

#include <span>
#include <string>
#include <string_view>

#include "sinkrouter/dtype.h"

namespace sinkrouter {

enum class KernelOp {
  kDecodeAttention,
  kPrefillAttention,
  kBlockScores,
  kBoxBounds,
  kRowScores,
  kRowBounds,
  kRowLogits,
  kLinear
};

// One line of the table of what is implemented. head_dim 0: any. max_group 0: any.
struct KernelDescriptor {
  KernelOp op;
  std::string_view backend;  // "cpu", "cuda"
  DType dtype;               // of the KV cache or the weights
  int head_dim;
  int max_group;  // q heads per KV head
};

std::span<const KernelDescriptor> kernel_descriptors();
std::string to_string(const KernelDescriptor& descriptor);

// Throws Error such as "no cpu kernel for decode d=72 bf16 group=5; there are: ..." when nothing
// in the table fits.
void require_kernel(KernelOp op, std::string_view backend, DType dtype, int head_dim, int group);

}  // namespace sinkrouter
