#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>

#include "kernels/cuda/append.h"
#include "kernels/cuda/router_device.cuh"

namespace sinkrouter::cuda {

inline constexpr int kAppendThreads = 256;
inline constexpr int kAppendWarps = kAppendThreads / kWarp;

template <int kDim>
struct AppendShared {
  float keys[kBlockSize][kDim + 1];                 // as stored
  __align__(16) float residuals[kDim][kBlockSize];  // what the mean leaves
  __align__(16) float rotated[kDim][kBlockSize];
  float mean[kDim];
  float moments[2 * kDim];
  float parts[3][kAppendWarps][kBlockSize];
  float row_scales[kBlockSize];
  float scale;
  float mean_norm;
  int finite;
};

__device__ inline float decode_e4m3(std::uint8_t code) {
  const __half_raw raw = __nv_cvt_fp8_to_halfraw(code, __NV_E4M3);
  return __half2float(__half(raw));
}

template <typename T>
__device__ T stored_element(float x) {
  return static_cast<T>(x);
}

// The least fp16 not below x >= 0, NaN when there is none.
__device__ inline __half half_not_below(float x) {
  const __half up = __float2half_ru(x);
  return __hisinf(up) || !(x >= 0) ? __ushort_as_half(0x7e00) : up;
}

// Mean, deviation and their codes, from shared.keys.
template <int kDim>
__device__ void describe_moments(AppendShared<kDim>& shared, std::uint8_t* codes, float* scale) {
  const int c = static_cast<int>(threadIdx.x);
  if (c == 0) {
    shared.scale = 0;
    shared.finite = 1;
  }
  __syncthreads();
  if (c < kDim) {
    float mean = 0;
    for (int row = 0; row < kBlockSize; ++row) mean += shared.keys[row][c];
    mean *= 1.0f / kBlockSize;
    float squares = 0;
    for (int row = 0; row < kBlockSize; ++row) {
      const float rest = shared.keys[row][c] - mean;
      squares = fmaf(rest, rest, squares);
    }
    const float deviation = sqrtf(squares * (1.0f / kBlockSize));
    shared.moments[c] = mean;
    shared.moments[kDim + c] = deviation;
    const float largest = fmaxf(fabsf(mean), deviation);
    if (!(fabsf(mean) < infinity() && deviation < infinity())) shared.finite = 0;
    // Floats that are not negative order as their bits do.
    if (largest < infinity()) {
      atomicMax(reinterpret_cast<int*>(&shared.scale), __float_as_int(largest));
    }
  }
  __syncthreads();
  const bool finite = shared.finite != 0;
  const float own_scale = finite ? shared.scale / 448.0f : __int_as_float(0x7fc00000);
  const float inverse = own_scale > 0 ? 1.0f / own_scale : 0.0f;
  __syncthreads();
  if (c < kDim) {
    std::uint8_t mean_code = 0;
    std::uint8_t deviation_code = 0;
    if (finite) {
      mean_code = __nv_cvt_float_to_fp8(shared.moments[c] * inverse, __NV_SATFINITE, __NV_E4M3);
      deviation_code =
          __nv_cvt_float_to_fp8(shared.moments[kDim + c] * inverse, __NV_SATFINITE, __NV_E4M3);
    }
    codes[c] = mean_code;
    codes[kDim + c] = deviation_code;
    shared.mean[c] = own_scale * decode_e4m3(mean_code);
  }
  if (c == 0) {
    *scale = own_scale;
    shared.scale = own_scale;
  }
  __syncthreads();
}

// shared.rotated = rotation * (keys - mean).
template <int kDim>
__device__ void rotate_residuals(AppendShared<kDim>& shared, const float* rotation) {
  const int thread = static_cast<int>(threadIdx.x);
  for (int i = thread; i < kDim * kBlockSize; i += kAppendThreads) {
    const int c = i % kDim;
    const int row = i / kDim;
    shared.residuals[c][row] = shared.keys[row][c] - shared.mean[c];
  }
  __syncthreads();
  constexpr int kRowQuads = kBlockSize / 4;
  for (int task = thread; task < kDim / 4 * kRowQuads; task += kAppendThreads) {
    const int row = task % kRowQuads * 4;
    const int channel = task / kRowQuads * 4;
    float sums[4][4] = {};
    for (int c = 0; c < kDim; c += 4) {
      float4 rest[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        rest[i] = *reinterpret_cast<const float4*>(&shared.residuals[c + i][row]);
      }
#pragma unroll
      for (int o = 0; o < 4; ++o) {
        const float4 r =
            __ldg(reinterpret_cast<const float4*>(rotation + (channel + o) * kDim + c));
        const float factors[4] = {r.x, r.y, r.z, r.w};
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          sums[o][0] = fmaf(factors[i], rest[i].x, sums[o][0]);
          sums[o][1] = fmaf(factors[i], rest[i].y, sums[o][1]);
          sums[o][2] = fmaf(factors[i], rest[i].z, sums[o][2]);
          sums[o][3] = fmaf(factors[i], rest[i].w, sums[o][3]);
        }
      }
    }
#pragma unroll
    for (int o = 0; o < 4; ++o) {
      *reinterpret_cast<float4*>(&shared.rotated[channel + o][row]) = {sums[o][0], sums[o][1],
                                                                       sums[o][2], sums[o][3]};
    }
  }
  __syncthreads();
}

__device__ inline float sum_of_parts(const float (&parts)[kAppendWarps][kBlockSize], int row) {
  float sum = 0;
  for (int w = 0; w < kAppendWarps; ++w) sum += parts[w][row];
  return sum;
}

// Codes, scales and misses of the block's rows from shared.rotated: a lane a row, words shared out
// among warps.
template <int kDim, int kBits>
__device__ void encode_sketches(AppendShared<kDim>& shared, std::uint32_t* codes, __half* scales,
                                __half* misses) {
  constexpr int kWords = kDim * kBits / 32;
  constexpr int kChannels = 32 / kBits;  // of a word
  constexpr float kTop = (1 << kBits) - 1;
  constexpr float kCentre = 0.5f * kTop;
  constexpr float kStep = kBits == 2 ? 0.9957f : 0.3352f;
  const int row = static_cast<int>(threadIdx.x) % kWarp;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  float squares = 0;
  for (int c = warp; c < kDim; c += kAppendWarps) {
    squares = fmaf(shared.rotated[c][row], shared.rotated[c][row], squares);
  }
  shared.parts[0][warp][row] = squares;
  __syncthreads();
  squares = sum_of_parts(shared.parts[0], row);
  const float step = kStep / sqrtf(static_cast<float>(kDim)) * sqrtf(squares);
  const float inverse = step > 0 ? 1.0f / step : 0.0f;
  float along = 0;
  float weight = 0;
  for (int word = warp; word < kWords; word += kAppendWarps) {
    std::uint32_t bits = 0;
    for (int i = 0; i < kChannels; ++i) {
      const float x = shared.rotated[word * kChannels + i][row];
      const float raised = fmaf(x, inverse, kCentre + 0.5f);
      const int code =
          static_cast<int>(fminf(fmaxf(raised, 0.0f), kTop + 0.5f)) & ((1 << kBits) - 1);
      const float level = static_cast<float>(code) - kCentre;
      along = fmaf(x, level, along);
      weight = fmaf(level, level, weight);
      bits |= static_cast<std::uint32_t>(code) << (i % 4 * 8 + i / 4 * kBits);
    }
    codes[word * kBlockSize + row] = bits;
  }
  shared.parts[1][warp][row] = along;
  shared.parts[2][warp][row] = weight;
  __syncthreads();
  if (warp == 0) {
    constexpr float kBeyondFp16 = 65520.0f;  // rounds to infinity
    const float scale = sum_of_parts(shared.parts[1], row) / sum_of_parts(shared.parts[2], row);
    const __half stored =
        fabsf(scale) < kBeyondFp16 ? __float2half_rn(scale) : __ushort_as_half(0x7e00);
    scales[row] = stored;
    shared.row_scales[row] = __half2float(stored);
  }
  if (misses == nullptr) return;
  __syncthreads();

  const float scale = shared.row_scales[row];
  float missed = 0;
  for (int word = warp; word < kWords; word += kAppendWarps) {
    const std::uint32_t bits = codes[word * kBlockSize + row];
    for (int i = 0; i < kChannels; ++i) {
      const auto code = static_cast<int>(bits >> (i % 4 * 8 + i / 4 * kBits)) & ((1 << kBits) - 1);
      const float rest = fmaf(-scale, static_cast<float>(code) - kCentre,
                              shared.rotated[word * kChannels + i][row]);
      missed = fmaf(rest, rest, missed);
    }
  }
  shared.parts[1][warp][row] = missed;
  if (warp == 0) {
    float mean_squares = 0;
    for (int c = row; c < kDim; c += kWarp) {
      mean_squares = fmaf(shared.mean[c], shared.mean[c], mean_squares);
    }
    mean_squares = warp_sum(mean_squares);
    if (row == 0) shared.mean_norm = sqrtf(mean_squares);
  }
  __syncthreads();
  if (warp != 0) return;
  // The terms of docs/theory.md, as the CPU's kernel has them.
  constexpr double kRoundoff = 0x1p-24;
  constexpr double kDefect = 0x1p-18;
  constexpr float kLeast = 0x1p-50f;
  const double rotation_rounding = 1.01 * kRoundoff * (kDim + 2) * sqrt(static_cast<double>(kDim));
  const auto of_missed = static_cast<float>(1 + 2 * kDefect + (kDim + 32) * kRoundoff);
  const auto of_residual =
      static_cast<float>(1.02 * (rotation_rounding + 2 * kDefect + 8 * kRoundoff));
  const auto of_mean = static_cast<float>(4 * kRoundoff);
  float bound = of_mean * shared.mean_norm + kLeast;
  bound = fmaf(of_residual, sqrtf(squares), bound);
  bound = fmaf(of_missed, sqrtf(sum_of_parts(shared.parts[1], row)), bound);
  misses[row] = half_not_below(bound);
}

template <int kDim, typename In, typename T>
__global__ void __launch_bounds__(kAppendThreads) append_kernel(const AppendParams params) {
  extern __shared__ __align__(16) unsigned char memory[];
  AppendShared<kDim>& shared = *reinterpret_cast<AppendShared<kDim>*>(memory);
  follow_previous();
  const KvView& kv = params.kv;
  const int sequence = blockIdx.z;
  const int kv_head = blockIdx.y;
  const int first = params.first_positions[sequence];
  if (first < 0) return;
  const int end = first + params.tokens;
  const int block = first / kBlockSize + static_cast<int>(blockIdx.x);
  const int from = max(first, block * kBlockSize);
  const int stop = min(end, (block + 1) * kBlockSize);
  if (from >= stop) return;

  const auto* new_keys = static_cast<const In*>(params.keys);
  const auto* new_values = static_cast<const In*>(params.values);
  T* keys = static_cast<T*>(const_cast<void*>(kv.keys));
  T* values = static_cast<T*>(const_cast<void*>(kv.values));
  for (int i = static_cast<int>(threadIdx.x); i < (stop - from) * kDim; i += kAppendThreads) {
    const int token = from + i / kDim;
    const int c = i % kDim;
    const std::int64_t source =
        ((std::int64_t{sequence} * params.tokens + token - first) * kv.kv_heads + kv_head) * kDim +
        c;
    const std::int64_t target = device_row_offset(kv, sequence, kv_head, token) + c;
    const T key = stored_element<T>(static_cast<float>(new_keys[source]));
    keys[target] = key;
    values[target] = stored_element<T>(static_cast<float>(new_values[source]));
    shared.keys[token % kBlockSize][c] = static_cast<float>(key);
  }
  if (stop != (block + 1) * kBlockSize) return;

  for (int i = static_cast<int>(threadIdx.x); i < (from - block * kBlockSize) * kDim;
       i += kAppendThreads) {
    const int row = i / kDim;
    const T* key = keys + device_row_offset(kv, sequence, kv_head, block * kBlockSize + row);
    shared.keys[row][i % kDim] = static_cast<float>(key[i % kDim]);
  }
  __syncthreads();
  const std::int64_t index = device_block_index(kv, sequence, kv_head, block);
  describe_moments(shared, params.moment_codes + index * 2 * kDim, params.moment_scales + index);
  if (params.sketch_bits == 0) return;
  rotate_residuals(shared, params.rotation);
  std::uint32_t* codes =
      params.sketch_codes + index * (kDim * params.sketch_bits / 32) * kBlockSize;
  auto* scales = reinterpret_cast<__half*>(params.sketch_scales) + index * kBlockSize;
  __half* misses = params.sketch_misses == nullptr
                       ? nullptr
                       : reinterpret_cast<__half*>(params.sketch_misses) + index * kBlockSize;
  if (params.sketch_bits == 2) {
    encode_sketches<kDim, 2>(shared, codes, scales, misses);
  } else {
    encode_sketches<kDim, 4>(shared, codes, scales, misses);
  }
}

}  // namespace sinkrouter::cuda
