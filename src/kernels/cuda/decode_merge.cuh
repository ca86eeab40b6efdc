#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

#include "kernels/cuda/decode_work.cuh"
#include "kernels/cuda/decode_workspace.h"

// Parts of a list's attention: for each q head of the group the largest logit (times log2 e), the
// sum of 2^(logit - largest), and the values mixed with those weights. Parts are merged in a fixed
// order, so that results do not depend on which block finishes last.
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

// Slot of a block's part of a list, counted over all blocks: only the first block has the list's
// beginning.
__device__ inline int part_slot(int block, bool is_first) { return block * 2 + (is_first ? 1 : 0); }

// Rows of the parts to merge: the first, and the others `step` apart from `second` on.
struct PartRows {
  std::int64_t first;
  std::int64_t second;
  std::int64_t step;
  int count;

  __device__ std::int64_t of(int part) const {
    return part == 0 ? first : second + (part - 1) * step;
  }
};

// What a list comes to: the end of every merge that no other follows.
struct ListResult {
  const DecodeParams& params;
  int list;
  int group;
  float value_scale;

  __device__ void put_sum(int row, float largest, float sum) const {
    if (params.lse == nullptr) return;
    params.lse[std::int64_t{list} * group + row] =
        sum == 0.0f ? kMinusInfinity : (largest + log2f(sum)) * kLn2;
  }
  template <int kHeadDim>
  __device__ void put_mixed(int row, int column, float4 mixed, float sum) const {
    const float factor = sum == 0.0f ? 0.0f : value_scale / sum;
    const std::int64_t to = (std::int64_t{list} * group + row) * kHeadDim + column;
    store(params.output, params.output_dtype, to, mixed.x * factor);
    store(params.output, params.output_dtype, to + 1, mixed.y * factor);
    store(params.output, params.output_dtype, to + 2, mixed.z * factor);
    store(params.output, params.output_dtype, to + 3, mixed.w * factor);
  }
};

// A part that other blocks' parts are to be merged with, from row `at` on.
struct PartResult {
  const Parts& parts;
  std::int64_t at;

  __device__ void put_sum(int row, float largest, float sum) const {
    parts.largest[at + row] = largest;
    parts.sums[at + row] = sum;
  }
  template <int kHeadDim>
  __device__ void put_mixed(int row, int column, float4 mixed, float) const {
    *reinterpret_cast<float4*>(parts.mixed + (at + row) * kHeadDim + column) = mixed;
  }
};

// Merges up to kMostParts parts; a warp takes a row. Called by all threads of one block.
// kShared: the parts are in shared memory; else other blocks may have written them.
template <int kHeadDim, int kWarps, bool kShared, typename Result>
__device__ void merge_parts(const Parts& parts, const PartRows& rows, int group, bool with_values,
                            const Result& result) {
  constexpr int kEach = kShared ? (kWarps + 31) / 32 : kMostParts / 32;
  constexpr int kInFlight = kShared ? kWarps : 16;
  const auto read = [](const auto* from) {
    if constexpr (kShared) {
      return *from;
    } else {
      return __ldcg(from);
    }
  };
  const int lane = static_cast<int>(threadIdx.x) % 32;
  for (int row = static_cast<int>(threadIdx.x) / 32; row < group; row += kWarps) {
    float weights[kEach];  // of parts lane, lane + 32, ...
    float largest = kMinusInfinity;
    float sum = 0;
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      const int part = i * 32 + lane;
      weights[i] = part < rows.count ? read(parts.largest + rows.of(part) + row) : kMinusInfinity;
      largest = fmaxf(largest, weights[i]);
    }
    for (int step = 16; step > 0; step /= 2) {
      largest = fmaxf(largest, __shfl_xor_sync(kAllLanes, largest, step));
    }
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      const int part = i * 32 + lane;
      weights[i] = part_weight(weights[i], largest);
      if (part < rows.count) sum += weights[i] * read(parts.sums + rows.of(part) + row);
    }
    for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(kAllLanes, sum, step);
    if (lane == 0) result.put_sum(row, largest, sum);
    if (!with_values) continue;

    const bool has_column = lane < kHeadDim / 4;
    float4 mixed{0, 0, 0, 0};
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
#pragma unroll
      for (int begin = 0; begin < 32 && begin < kMostParts; begin += kInFlight) {
        if (i * 32 + begin >= rows.count) break;
        float4 values[kInFlight];
#pragma unroll
        for (int j = 0; j < kInFlight; ++j) {
          const int part = i * 32 + begin + j;
          values[j] = float4{0, 0, 0, 0};
          if (has_column && part < rows.count) {
            values[j] = read(reinterpret_cast<const float4*>(
                parts.mixed + (rows.of(part) + row) * kHeadDim + lane * 4));
          }
        }
#pragma unroll
        for (int j = 0; j < kInFlight; ++j) {
          const float weight = __shfl_sync(kAllLanes, weights[i], begin + j);
          mixed.x += weight * values[j].x;
          mixed.y += weight * values[j].y;
          mixed.z += weight * values[j].z;
          mixed.w += weight * values[j].w;
        }
      }
    }
    if (has_column) result.template put_mixed<kHeadDim>(row, lane * 4, mixed, sum);
  }
}

// Says that this block has stored what `arrived` counts. True in the last of `all` blocks, which
// then sees what all of them stored; the count starts anew for the next launch.
__device__ inline bool arrive_last(std::int32_t* arrived, int all) {
  __shared__ bool last;
  __syncthreads();
  if (threadIdx.x == 0) {
    int before = 0;
    asm volatile("atom.add.acq_rel.gpu.global.s32 %0, [%1], 1;\n"
                 : "=r"(before)
                 : "l"(arrived)
                 : "memory");
    last = before == all - 1;
    if (last) *arrived = 0;
  }
  __syncthreads();
  return last;
}

// After this block has stored its part of a list that blocks first_block to last_block share: the
// last of them to come stores the list's result.
template <int kHeadDim, int kWarps>
__device__ void merge_blocks(const Workspace& workspace, int first_block, int last_block,
                             const ListResult& result) {
  const int block = static_cast<int>(blockIdx.x);
  const int parts = last_block - first_block + 1;
  const int group = result.group;
  const bool with_values = result.params.output != nullptr;
  const auto row_of = [&](int part) {
    return std::int64_t{part_slot(first_block + part, part == 0)} * group;
  };
  int step = 1;
  int count = parts;
  if (parts > kMostParts) {
    step = kRun;
    count = (parts + kRun - 1) / kRun;
    const int begin = (block - first_block) / kRun * kRun;
    const int in_run = min(kRun, parts - begin);
    const int slot = part_slot(first_block + begin, begin == 0);
    if (!arrive_last(workspace.in_run + slot, in_run)) return;
    const PartRows rows{row_of(begin), row_of(begin + 1), std::int64_t{2} * group, in_run};
    merge_parts<kHeadDim, kWarps, false>(workspace.parts, rows, group, with_values,
                                         PartResult{workspace.parts, row_of(begin)});
  }
  if (!arrive_last(workspace.arrived + result.list, count)) return;
  const PartRows rows{row_of(0), row_of(step), std::int64_t{2} * step * group, count};
  merge_parts<kHeadDim, kWarps, false>(workspace.parts, rows, group, with_values, result);
}

}  // namespace sinkrouter::cuda
