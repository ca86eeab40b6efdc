#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/rng.h"
#include "kernels/params.h"

namespace sinkrouter::kernel_tests {

// A random orthogonal matrix [dim, dim].
std::vector<float> random_rotation(int dim, Rng& rng);

// One block of one KV head with all that is stored of it.
struct SketchedBlock {
  SketchedBlock(std::vector<float> rows, int dim, int code_bits, DType dtype);

  // Moments by the reference; sketches by `encode`.
  void encode(const std::vector<float>& rotation,
              const std::function<void(const RowSketchesParams&)>& encode);
  double mean(int channel) const;
  int code(int row, int channel) const;
  double level(int row, int channel) const;  // code less its centre
  double scale(int row) const;
  // Squared norms of the rotated residual, and of what the sketch misses of it.
  struct RowError {
    double residual = 0;
    double missed = 0;
  };
  // |key - sketch|, by un-rotating the sketch.
  double missed(int row, std::span<const float> rotation) const;
  RowError error(int row, std::span<const float> rotation) const;

  int head_dim;
  int bits;
  DType key_type;
  std::vector<float> keys;  // [kBlockSize, head_dim], as stored
  std::vector<std::byte> stored_keys;
  std::vector<std::uint8_t> mean_codes;  // [2, head_dim]
  float mean_scale = 0;
  std::vector<std::uint32_t> codes;  // [head_dim * bits / 32, kBlockSize]
  std::vector<Float16> scales;       // [kBlockSize]
  std::vector<Float16> misses;       // [kBlockSize]
};

}  // namespace sinkrouter::kernel_tests
