#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "base/check.h"
#include "base/dtype.h"

namespace sinkrouter::cuda {

// Calls fn.operator()<head_dim>().
template <typename Fn>
void visit_head_dim(int head_dim, Fn&& fn) {
  const bool found = visit_int<64, 80, 96, 128>(head_dim, fn);
  SR_CHECK(found, kInvalidArgument, "router: head dim {}: expected 64, 80, 96 or 128", head_dim);
}

// Calls fn.operator()<Element>() for elements that a cache or its input may have.
template <typename Fn>
void visit_element(DType dtype, Fn&& fn) {
  switch (dtype) {
    case DType::kBF16:
      return fn.template operator()<__nv_bfloat16>();
    case DType::kF16:
      return fn.template operator()<__half>();
    case DType::kF32:
      return fn.template operator()<float>();
    case DType::kF8E4M3:
      break;
  }
  SR_CHECK(false, kInvalidArgument, "router: dtype {}: expected f32, f16 or bf16", name(dtype));
}

}  // namespace sinkrouter::cuda
