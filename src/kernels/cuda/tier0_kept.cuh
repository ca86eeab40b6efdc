#pragma once

#include "kernels/cuda/tier0_scores.cuh"

// The kept set in tier 0: its log-sum-exp, and what bins count from.
namespace sinkrouter::cuda {

inline constexpr int kKeptRows = kKeptBlocks * kBlockSize / kTier0Warps;  // of a warp

// (largest, sum of exp(logit - largest)) of two sets of logits.
__device__ inline float2 join_parts(float2 a, float2 b) {
  const float largest = fmaxf(a.x, b.x);
  if (largest == -infinity()) return {largest, a.y + b.y};
  return {largest, a.y * __expf(a.x - largest) + b.y * __expf(b.x - largest)};
}

// Logits of up to kKeptRows kept rows from `first` on by a warp, added to `sums` [group]. Lane l of
// a half-warp holds channels l, l + 16 ... of every second row.
template <int kDim, typename T>
__device__ void attend_kept_rows(const RouterStep& step, int sequence, int kv_head, int first,
                                 int end, float2 (&sums)[kMostGroup]) {
  constexpr int kPairs = kKeptRows / 2;
  constexpr int kOwn = kDim / 16;
  const int lane = threadIdx.x % kWarp;
  const int half = lane / 16;
  const int within = lane % 16;
  const int group = step.q_heads / step.kv.kv_heads;
  const float* queries =
      step.queries + (std::int64_t{sequence} * step.q_heads + kv_head * group) * kDim;
  const T* keys = static_cast<const T*>(step.kv.keys);
  T k[kPairs][kOwn];
#pragma unroll
  for (int pair = 0; pair < kPairs; ++pair) {
    const int row = min(first + 2 * pair + half, end - 1);
    const T* key = keys + device_row_offset(step.kv, sequence, kv_head, row);
#pragma unroll
    for (int c = 0; c < kOwn; ++c) k[pair][c] = key[c * 16 + within];
  }
#pragma unroll
  for (int head = 0; head < kMostGroup; ++head) {
    if (head >= group) break;
    float q[kOwn];
#pragma unroll
    for (int c = 0; c < kOwn; ++c) q[c] = __ldg(queries + head * kDim + c * 16 + within);
    float2 own = {-infinity(), 0.0f};
#pragma unroll
    for (int pair = 0; pair < kPairs; ++pair) {
      float dot = 0;
#pragma unroll
      for (int c = 0; c < kOwn; ++c) dot = fmaf(q[c], static_cast<float>(k[pair][c]), dot);
#pragma unroll
      for (int offset = 8; offset > 0; offset /= 2) {
        dot += __shfl_xor_sync(kAllLanes, dot, offset);
      }
      if (first + 2 * pair + half >= end) continue;
      const float logit = dot * step.scale;
      // A logit that is not a number, or infinite, makes the sum not a number for good.
      own = join_parts(own, {logit, logit < infinity() ? (logit > -infinity() ? 1.0f : 0.0f)
                                                       : __int_as_float(0x7fc00000)});
    }
    const float2 other = {__shfl_xor_sync(kAllLanes, own.x, 16),
                          __shfl_xor_sync(kAllLanes, own.y, 16)};
    sums[head] = join_parts(sums[head], join_parts(own, other));
  }
}

template <int kDim, typename T>
__device__ void attend_kept_unit(const RouterStep& step, const DeviceKept& kept,
                                 const PinnedGranules& pinned, int sequence, int kv_head, int unit,
                                 float2 (*shared)[kMostGroup]) {
  constexpr int kPartsOfBlock = kBlockSize / kKeptRows;
  const int warp = threadIdx.x / kWarp;
  const int lane = threadIdx.x % kWarp;
  const int group = step.q_heads / step.kv.kv_heads;
  const int parts_of_granule = kept.granule / kBlockSize * kPartsOfBlock;
  const int slots = kept.head_end + pinned.count + kept.granules - kept.tail_begin;
  const int units = kept_units_of(step, kept);
  float2 sums[kMostGroup];
#pragma unroll
  for (int h = 0; h < kMostGroup; ++h) sums[h] = {-infinity(), 0.0f};
  for (int i = unit * kTier0Warps + warp; i < slots * parts_of_granule; i += units * kTier0Warps) {
    int slot = i / parts_of_granule;
    int granule = slot;
    if (slot >= kept.head_end) {
      slot -= kept.head_end;
      granule = slot < pinned.count ? pinned.granules[slot] : kept.tail_begin + slot - pinned.count;
    }
    const int first = granule * kept.granule + i % parts_of_granule * kKeptRows;
    const int end = min(first + kKeptRows, kept.length);
    if (first < end) attend_kept_rows<kDim, T>(step, sequence, kv_head, first, end, sums);
  }
  __syncthreads();
  if (lane == 0) {
#pragma unroll
    for (int h = 0; h < kMostGroup; ++h) shared[warp][h] = sums[h];
  }
  __syncthreads();
  if (threadIdx.x < group) {
    float2 all = shared[0][threadIdx.x];
    for (int w = 1; w < kTier0Warps; ++w) all = join_parts(all, shared[w][threadIdx.x]);
    const std::int64_t head = std::int64_t{sequence} * step.q_heads + kv_head * group + threadIdx.x;
    step.workspace.kept_parts[head * step.kept_units + unit] = all;
  }
}

// Where a q head's bins begin: the larger logit of the first row and the last one. Both are kept,
// so that it is at most the kept set's log-sum-exp, and can be had without waiting for that.
template <int kDim, typename T>
__device__ void find_references(const RouterStep& step, int sequence, int kv_head, int length,
                                float* references) {
  constexpr int kOwn = (kDim + kWarp - 1) / kWarp;
  const int warp = threadIdx.x / kWarp;
  const int lane = threadIdx.x % kWarp;
  const int group = step.q_heads / step.kv.kv_heads;
  if (warp >= group) return;
  const T* keys = static_cast<const T*>(step.kv.keys);
  const T* first = keys + device_row_offset(step.kv, sequence, kv_head, 0);
  const T* last = keys + device_row_offset(step.kv, sequence, kv_head, length - 1);
  for (int head = warp; head < group; head += kTier0Warps) {
    const float* query =
        step.queries + (std::int64_t{sequence} * step.q_heads + kv_head * group + head) * kDim;
    float of_first = 0;
    float of_last = 0;
#pragma unroll
    for (int i = 0; i < kOwn; ++i) {
      const int c = lane + i * kWarp;
      if (c >= kDim) continue;
      const float q = query[c];
      of_first = fmaf(q, static_cast<float>(first[c]), of_first);
      of_last = fmaf(q, static_cast<float>(last[c]), of_last);
    }
    of_first = warp_sum(of_first);
    of_last = warp_sum(of_last);
    if (lane == 0) references[head] = step.scale * fmaxf(of_first, of_last);
  }
}

}  // namespace sinkrouter::cuda
