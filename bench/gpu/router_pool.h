#pragma once

#include <cstdint>

#include "base/dtype.h"
#include "device_memory.h"
#include "kv/kv_view.h"

namespace sinkrouter::gpu_bench {

inline constexpr int kKvHeads = 8;
inline constexpr int kDim = 128;
inline constexpr int kPage = 64;
inline constexpr int kBits = 2;
inline constexpr std::int64_t kPoolTokens = 1 << 20;
inline constexpr std::int64_t kRowBytes = kDim * 2;

// A cache with what describes it; page tables of contexts cut it up.
class RouterPool {
 public:
  RouterPool();

  KvView view() const {
    KvView kv;
    kv.keys = keys_.as<void>();
    kv.values = values_.as<void>();
    kv.dtype = DType::kBF16;
    kv.token_stride = kDim;
    kv.head_stride = std::int64_t{kPage} * kDim;
    kv.page_stride = kv.head_stride * kKvHeads;
    kv.page_size = kPage;
    kv.kv_heads = kKvHeads;
    kv.head_dim = kDim;
    kv.sequences = 1;
    return kv;
  }
  MomentsView moments() const {
    return {moment_codes_.as<std::uint8_t>(), moment_scales_.as<float>()};
  }
  SketchView sketches() const {
    return {kBits, sketch_codes_.as<std::uint32_t>(), sketch_scales_.as<Float16>(), nullptr,
            rotation_.as<float>()};
  }
  const DeviceMemory& keys() const { return keys_; }

 private:
  DeviceMemory keys_;
  DeviceMemory values_;
  DeviceMemory moment_codes_;
  DeviceMemory sketch_codes_;
  DeviceMemory moment_scales_;
  DeviceMemory sketch_scales_;
  DeviceMemory rotation_;
};

}  // namespace sinkrouter::gpu_bench
