#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>

#include "base/check.h"
#include "base/dtype.h"

namespace sinkrouter {

// A dense row-major tensor somebody else owns. Copies are cheap; the last axis is contiguous.
struct TensorView {
  static constexpr int kMaxRank = 4;

  void* data = nullptr;
  DType dtype = DType::kF32;
  int rank = 0;
  std::array<std::int64_t, kMaxRank> shape{};

  TensorView() = default;
  TensorView(void* pointer, DType type, std::initializer_list<std::int64_t> dims)
      : data(pointer), dtype(type), rank(static_cast<int>(dims.size())) {
    SR_ASSERT(dims.size() <= kMaxRank);
    int axis = 0;
    for (std::int64_t dim : dims) shape[axis++] = dim;
  }

  std::int64_t elements() const {
    std::int64_t count = 1;
    for (int axis = 0; axis < rank; ++axis) count *= shape[axis];
    return count;
  }
  std::int64_t bytes() const {
    return elements() * static_cast<std::int64_t>(size_in_bytes(dtype));
  }

  template <typename T>
  T* as() const {
    SR_ASSERT(dtype == dtype_of<T>());
    return static_cast<T*>(data);
  }
};

}  // namespace sinkrouter
