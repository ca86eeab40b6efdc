#include "kernels/sketched_block.h"

#include <cmath>
#include <cstring>

#include "base/dtype.h"
#include "kernels/harness.h"
#include "kernels/reference/reference.h"

namespace sinkrouter::kernel_tests {

std::vector<float> random_rotation(int dim, Rng& rng) {
  std::vector<double> rows(static_cast<std::size_t>(dim) * dim);
  for (double& x : rows) x = rng.normal();
  const auto dot = [&](int a, int b) {
    double sum = 0;
    for (int c = 0; c < dim; ++c) sum += rows[a * dim + c] * rows[b * dim + c];
    return sum;
  };
  for (int i = 0; i < dim; ++i) {
    for (int pass = 0; pass < 2; ++pass) {  // the second removes what rounding left
      for (int j = 0; j < i; ++j) {
        const double along = dot(i, j);
        for (int c = 0; c < dim; ++c) rows[i * dim + c] -= along * rows[j * dim + c];
      }
    }
    const double norm = std::sqrt(dot(i, i));
    for (int c = 0; c < dim; ++c) rows[i * dim + c] /= norm;
  }
  return {rows.begin(), rows.end()};
}

SketchedBlock::SketchedBlock(std::vector<float> rows, int dim, int code_bits, DType dtype)
    : head_dim(dim),
      bits(code_bits),
      key_type(dtype),
      keys(std::move(rows)),
      stored_keys(stored(keys, dtype)),
      mean_codes(2 * dim),
      codes(dim * code_bits / 32 * kBlockSize),
      scales(kBlockSize),
      misses(kBlockSize) {
  visit_dtype<float, BFloat16, Float16>(dtype, [&]<typename T>() {
    for (std::size_t i = 0; i < keys.size(); ++i) {
      T element;
      std::memcpy(&element, stored_keys.data() + i * sizeof(T), sizeof(T));
      keys[i] = to_float(element);
    }
  });
}

void SketchedBlock::encode(const std::vector<float>& rotation,
                           const std::function<void(const RowSketchesParams&)>& encode) {
  BlockMomentsParams moments;
  moments.keys = stored_keys.data();
  moments.dtype = key_type;
  moments.token_stride = head_dim;
  moments.head_dim = head_dim;
  moments.codes = mean_codes.data();
  moments.scale = &mean_scale;
  reference::block_moments(moments);
  RowSketchesParams params;
  params.keys = stored_keys.data();
  params.dtype = key_type;
  params.token_stride = head_dim;
  params.head_dim = head_dim;
  params.mean_codes = mean_codes.data();
  params.mean_scale = mean_scale;
  params.rotation = rotation.data();
  params.bits = bits;
  params.codes = codes.data();
  params.scales = scales.data();
  params.misses = misses.data();
  encode(params);
}

double SketchedBlock::mean(int channel) const {
  return double{mean_scale} * to_float(Float8E4M3{mean_codes[channel]});
}

int SketchedBlock::code(int row, int channel) const {
  const int channels = 32 / bits;
  const std::uint32_t word = codes[channel / channels * kBlockSize + row];
  const int within = channel % channels;
  return static_cast<int>(word >> (8 * (within % 4) + bits * (within / 4))) & ((1 << bits) - 1);
}

double SketchedBlock::level(int row, int channel) const {
  return code(row, channel) - 0.5 * ((1 << bits) - 1);
}

double SketchedBlock::scale(int row) const { return to_float(scales[row]); }

SketchedBlock::RowError SketchedBlock::error(int row, std::span<const float> rotation) const {
  RowError error;
  for (int i = 0; i < head_dim; ++i) {
    double rotated = 0;
    for (int c = 0; c < head_dim; ++c) {
      rotated += rotation[i * head_dim + c] * (keys[row * head_dim + c] - mean(c));
    }
    const double missed = rotated - scale(row) * level(row, i);
    error.residual += rotated * rotated;
    error.missed += missed * missed;
  }
  return error;
}

double SketchedBlock::missed(int row, std::span<const float> rotation) const {
  double squares = 0;
  for (int c = 0; c < head_dim; ++c) {
    double rest = keys[row * head_dim + c] - mean(c);
    for (int i = 0; i < head_dim; ++i) {
      rest -= rotation[i * head_dim + c] * scale(row) * level(row, i);
    }
    squares += rest * rest;
  }
  return std::sqrt(squares);
}

}  // namespace sinkrouter::kernel_tests
