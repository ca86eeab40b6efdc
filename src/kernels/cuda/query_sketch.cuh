#pragma once

#include "kernels/cuda/tier0_scores.cuh"

// Queries as sketches meet them: rotated, in 8-bit codes.
namespace sinkrouter::cuda {

// Lane i gets the sum over all lanes of values[i].
__device__ inline float sum_across(float (&values)[kWarp]) {
  const int lane = threadIdx.x % kWarp;
#pragma unroll
  for (int half = kWarp / 2; half > 0; half /= 2) {
    const bool upper = (lane & half) != 0;
#pragma unroll
    for (int i = 0; i < half; ++i) {
      const float given = upper ? values[i] : values[i + half];
      const float own = upper ? values[i + half] : values[i];
      values[i] = own + __shfl_xor_sync(kAllLanes, given, half);
    }
  }
  return values[0];
}

// Rotates and quantises a group's queries; `rotated` [kMostGroup, kDim] in shared memory.
template <int kDim>
__device__ void sketch_queries_of(const RouterStep& step, int sequence, int kv_head,
                                  float (*rotated)[kDim]) {
  constexpr int kRun = kWarp / kTileHeads;  // channels at once
  static_assert(kDim % kRun == 0);
  const int warp = threadIdx.x / kWarp;
  const int lane = threadIdx.x % kWarp;
  const int group = step.q_heads / step.kv.kv_heads;
  const std::int64_t first_head = std::int64_t{sequence} * step.q_heads + kv_head * group;
  const float* queries = step.queries + first_head * kDim;
  __syncthreads();
  for (int tile = 0; tile * kTileHeads < group; ++tile) {
    float q[kTileHeads][4];
#pragma unroll
    for (int h = 0; h < kTileHeads; ++h) {
      const int head = min(tile * kTileHeads + h, group - 1);
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        const int channel = 4 * lane + c;
        q[h][c] = channel < kDim ? queries[head * kDim + channel] : 0.0f;
      }
    }
    for (int first = warp * kRun; first < kDim; first += kTier0Warps * kRun) {
      float4 r[kRun];
#pragma unroll
      for (int i = 0; i < kRun; ++i) {
        r[i] = lane < kDim / 4 ? __ldg(reinterpret_cast<const float4*>(step.sketches.rotation +
                                                                       (first + i) * kDim) +
                                       lane)
                               : float4{};
      }
      float dots[kWarp];
#pragma unroll
      for (int i = 0; i < kRun; ++i) {
#pragma unroll
        for (int h = 0; h < kTileHeads; ++h) {
          float dot = r[i].x * q[h][0];
          dot = fmaf(r[i].y, q[h][1], dot);
          dot = fmaf(r[i].z, q[h][2], dot);
          dots[i * kTileHeads + h] = fmaf(r[i].w, q[h][3], dot);
        }
      }
      const float sum = sum_across(dots);
      const int head = tile * kTileHeads + lane % kTileHeads;
      if (head < group) rotated[head][first + lane / kTileHeads] = sum;
    }
  }
  __syncthreads();
  for (int h = warp; h < group; h += kTier0Warps) {
    constexpr float kLargestCode = 127.0f;
    constexpr float kLeast = 1e-30f;  // below it the inverse of the step may overflow
    float most = 0;
    float doubts = 0;  // becomes NaN, which a maximum would lose
    float squares = 0;
    for (int c = lane; c < kDim; c += kWarp) {
      const float x = rotated[h][c];
      most = fmaxf(most, fabsf(x));
      doubts += x * 0.0f;
      const float q = queries[h * kDim + c];
      squares = fmaf(q, q, squares);
    }
    most = warp_max(most);
    doubts = warp_sum(doubts);
    squares = warp_sum(squares);
    const bool finite = doubts == doubts;
    const bool coded = finite && most >= kLeast;
    const float inverse = coded ? kLargestCode / most : 0.0f;
    int sum = 0;
    for (int c = lane; c < kDim; c += kWarp) {
      const int code = coded ? __float2int_rn(rotated[h][c] * inverse) : 0;
      step.workspace.query_codes[(first_head + h) * kDim + c] = static_cast<std::int8_t>(code);
      sum += code;
    }
    sum = warp_sum(sum);
    if (lane == 0) {
      step.workspace.query_steps[first_head + h] =
          coded ? most / kLargestCode : (finite ? 0.0f : __int_as_float(0x7fc00000));
      step.workspace.query_sums[first_head + h] = sum;
      step.workspace.query_squares[first_head + h] = squares;
    }
  }
}

}  // namespace sinkrouter::cuda
