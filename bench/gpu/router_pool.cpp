#include "router_pool.h"

#include <cmath>
#include <vector>

#include "kernels/cuda/device.h"
#include "random_fill.h"
#include "router_fill.h"

namespace sinkrouter::gpu_bench {
namespace {

constexpr float kCodeScale = 1.0f / 64;
constexpr std::int64_t kBlocks = kPoolTokens / kBlockSize * kKvHeads;

std::vector<float> hadamard() {
  std::vector<float> matrix(kDim * kDim);
  for (unsigned i = 0; i < kDim * kDim; ++i) {
    const bool negative = __builtin_popcount(i / kDim & i % kDim) % 2 != 0;
    matrix[i] = (negative ? -1.0f : 1.0f) / std::sqrt(static_cast<float>(kDim));
  }
  return matrix;
}

}  // namespace

RouterPool::RouterPool()
    : keys_(kPoolTokens * kKvHeads * kRowBytes),
      values_(kPoolTokens * kKvHeads * kRowBytes),
      moment_codes_(kBlocks * 2 * kDim),
      sketch_codes_(kBlocks * kBlockSize * kDim * kBits / 8),
      moment_scales_(std::vector<float>(kBlocks, kCodeScale)),
      // fp16 bits of 0.894: with the codes' levels the residuals deviate by 1.
      sketch_scales_(std::vector<std::uint16_t>(kBlocks * kBlockSize, 0x3b27)),
      rotation_(hadamard()) {
  fill_random(keys_.as<void>(), DType::kBF16, keys_.bytes() / 2, 1, nullptr);
  fill_random(values_.as<void>(), DType::kBF16, values_.bytes() / 2, 2, nullptr);
  cuda::check(fill_normal_codes(moment_codes_.as<std::uint8_t>(), moment_codes_.bytes(), 11,
                                1 / kCodeScale, 2 * kDim, kDim),
              "fill");
  cuda::check(fill_bits(sketch_codes_.as<std::uint32_t>(), sketch_codes_.bytes() / 4, 13, ~0u, 0),
              "fill");
  cuda::check(cudaDeviceSynchronize(), "filling the cache");
}

}  // namespace sinkrouter::gpu_bench
