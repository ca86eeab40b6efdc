#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

#include "kernels/cuda/decode_work.cuh"

// Parts of a list's attention: for each q head of the group the largest logit (times log2 e), the
// sum of 2^(logit - largest), and the values mixed with those weights. Merging takes parts in a
// fixed order, so that results do not depend on which block finishes last.
namespace sinkrouter::cuda {

constexpr float kMinusInfinity = -__builtin_inff();
constexpr float kLn2 = 0.693147180559945309f;

// Weight of a part whose largest logit is `own` where the largest of all is `largest`.
__device__ inline float part_weight(float own, float largest) {
  return own == kMinusInfinity ? 0.0f : exp2f(own - largest);
}

__device__ inline void store(void* to, DType dtype, std::int64_t index, float value) {
  if (dtype == DType::kF32) {
    static_cast<float*>(to)[index] = value;
  } else if (dtype == DType::kBF16) {
    static_cast<__nv_bfloat16*>(to)[index] = __float2bfloat16_rn(value);
  } else {
    static_cast<__half*>(to)[index] = __float2half_rn(value);
  }
}

__device__ inline void store_lse(const DecodeParams& params, std::int64_t row, float largest,
                                 float sum) {
  if (params.lse == nullptr) return;
  params.lse[row] = sum == 0.0f ? kMinusInfinity : (largest + log2f(sum)) * kLn2;
}

// Parts of lists that several blocks share. A block has at most two of them: the end of a list
// that began in an earlier block (slot 0) and the beginning of one that goes on (slot 1).
struct Workspace {
  float* mixed;           // [blocks, 2, group, head_dim]
  float* largest;         // [blocks, 2, group]
  float* sums;            // [blocks, 2, group]
  std::int32_t* arrived;  // [sequences, kv_heads], blocks that have stored their part

  __host__ __device__ Workspace(void* memory, int blocks, int group, int head_dim) {
    const std::int64_t rows = std::int64_t{blocks} * 2 * group;
    mixed = static_cast<float*>(memory);
    largest = mixed + rows * head_dim;
    sums = largest + rows;
    arrived = reinterpret_cast<std::int32_t*>(sums + rows);
  }
  static std::int64_t bytes(int blocks, int group, int head_dim, std::int64_t lists) {
    const std::int64_t rows = std::int64_t{blocks} * 2 * group;
    return (rows * (head_dim + 2) + lists) * static_cast<std::int64_t>(sizeof(float));
  }
};

// Row of a block's part of a list, in the workspace: only the first block has the list's
// beginning.
__device__ inline std::int64_t part_row(int block, bool is_first, int group) {
  return (std::int64_t{block} * 2 + (is_first ? 1 : 0)) * group;
}

// Merges the parts of `list` that blocks first_block to last_block left in the workspace and
// stores the result. Called by all threads of one block; `shared` has room for
// group * (blocks + 1) floats.
template <int kHeadDim>
__device__ void merge_blocks(const DecodeParams& params, const Workspace& workspace, int list,
                             int first_block, int last_block, int group, float* shared) {
  const int parts = last_block - first_block + 1;
  const int thread = static_cast<int>(threadIdx.x);
  const int lane = thread % 32;
  float* weights = shared;                 // [group, parts]
  float* totals = shared + group * parts;  // [group]
  const std::int64_t out_row = std::int64_t{list} * group;

  for (int row = thread / 32; row < group; row += kWarps) {
    float largest = kMinusInfinity;
    for (int part = lane; part < parts; part += 32) {
      const std::int64_t at = part_row(first_block + part, part == 0, group) + row;
      largest = fmaxf(largest, __ldcg(workspace.largest + at));
    }
    for (int step = 16; step > 0; step /= 2) {
      largest = fmaxf(largest, __shfl_xor_sync(kAllLanes, largest, step));
    }
    float sum = 0;
    for (int part = lane; part < parts; part += 32) {
      const std::int64_t at = part_row(first_block + part, part == 0, group) + row;
      const float weight = part_weight(__ldcg(workspace.largest + at), largest);
      weights[row * parts + part] = weight;
      sum += weight * __ldcg(workspace.sums + at);
    }
    for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(kAllLanes, sum, step);
    if (lane == 0) {
      totals[row] = sum;
      store_lse(params, out_row + row, largest, sum);
    }
  }
  __syncthreads();
  if (params.output == nullptr) return;

  constexpr int kVectors = kHeadDim / 4;
  for (int at = thread; at < group * kVectors; at += kThreads) {
    const int row = at / kVectors;
    const int column = at % kVectors * 4;
    float4 mixed{0, 0, 0, 0};
#pragma unroll 8
    for (int part = 0; part < parts; ++part) {
      const std::int64_t from = part_row(first_block + part, part == 0, group) + row;
      const float4 values =
          __ldcg(reinterpret_cast<const float4*>(workspace.mixed + from * kHeadDim + column));
      const float weight = weights[row * parts + part];
      mixed.x += weight * values.x;
      mixed.y += weight * values.y;
      mixed.z += weight * values.z;
      mixed.w += weight * values.w;
    }
    const float total = totals[row];
    const float inverse = total == 0.0f ? 0.0f : 1.0f / total;
    const std::int64_t to = (out_row + row) * kHeadDim + column;
    store(params.output, params.output_dtype, to, mixed.x * inverse);
    store(params.output, params.output_dtype, to + 1, mixed.y * inverse);
    store(params.output, params.output_dtype, to + 2, mixed.z * inverse);
    store(params.output, params.output_dtype, to + 3, mixed.w * inverse);
  }
}

// Says that this block's part of `list` is in the workspace. True in the last of the `parts`
// blocks, which then sees all of them; the count starts anew for the next launch.
__device__ inline bool arrive_last(std::int32_t* arrived, int parts) {
  __shared__ bool last;
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    last = atomicAdd(arrived, 1) == parts - 1;
    if (last) *arrived = 0;
  }
  __syncthreads();
  if (last) __threadfence();
  return last;
}

}  // namespace sinkrouter::cuda
