#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>

#include <cstdint>

#include "kernels/cuda/router_step.h"
#include "kernels/cuda/select_shape.h"

// What the router's kernels share.
namespace sinkrouter::cuda {

inline constexpr int kWarp = 32;
inline constexpr unsigned kAllLanes = 0xffffffffu;

__device__ inline float infinity() { return __int_as_float(0x7f800000); }

// Of programmatic dependent launch: what the kernels before this one wrote is visible after it, and
// blocks of the next kernel may start. They start only when every block of this one has come here,
// so what a kernel reads before its own call must not be written by the kernel just before it, and
// may be by earlier ones.
__device__ inline void follow_previous() {
#if __CUDA_ARCH__ >= 900
  cudaGridDependencySynchronize();
  cudaTriggerProgrammaticLaunchCompletion();
#endif
}

template <typename T>
__device__ T warp_sum(T x) {
  for (int offset = kWarp / 2; offset > 0; offset /= 2) x += __shfl_xor_sync(kAllLanes, x, offset);
  return x;
}

__device__ inline float warp_max(float x) {
  for (int offset = kWarp / 2; offset > 0; offset /= 2) {
    x = fmaxf(x, __shfl_xor_sync(kAllLanes, x, offset));
  }
  return x;
}

// Sum of the values of this lane and those below it.
template <typename T>
__device__ T warp_prefix(T x) {
  const int lane = threadIdx.x % kWarp;
  for (int offset = 1; offset < kWarp; offset *= 2) {
    const T other = __shfl_up_sync(kAllLanes, x, offset);
    if (lane >= offset) x += other;
  }
  return x;
}

// Inclusive prefix sum over a block of whole warps; `scratch` has room for 33. Every thread gets
// the total too.
template <typename T>
__device__ T block_prefix(T x, T* scratch, T& total) {
  const int lane = threadIdx.x % kWarp;
  const int warp = threadIdx.x / kWarp;
  const int warps = blockDim.x / kWarp;
  const T within = warp_prefix(x);
  __syncthreads();
  if (lane == kWarp - 1) scratch[warp] = within;
  __syncthreads();
  if (warp == 0) {
    const T sums = warp_prefix(lane < warps ? scratch[lane] : T(0));
    scratch[lane] = sums;
  }
  __syncthreads();
  total = scratch[warps - 1];
  return within + (warp > 0 ? scratch[warp - 1] : T(0));
}

__device__ inline std::int64_t device_row_offset(const KvView& kv, int sequence, int kv_head,
                                                 int token) {
  const std::int64_t page = kv.page_table[sequence * kv.page_table_stride + token / kv.page_size];
  return page * kv.page_stride + kv_head * kv.head_stride +
         (token % kv.page_size) * kv.token_stride;
}

// Index into MomentsView::scales and, times kBlockSize, SketchView::scales.
__device__ inline std::int64_t device_block_index(const KvView& kv, int sequence, int kv_head,
                                                  int block) {
  const int per_page = kv.page_size / kBlockSize;
  const std::int64_t page = kv.page_table[sequence * kv.page_table_stride + block / per_page];
  return (page * kv.kv_heads + kv_head) * per_page + block % per_page;
}

// The kept set of a sequence at a granule of whole blocks, without its pinned granules.
struct DeviceKept {
  int length;
  int granule;
  int granules;
  int head_end;
  int tail_begin;

  __device__ DeviceKept(int length, int granule, int window) : length(length), granule(granule) {
    granules = length / granule + (length % granule != 0);
    head_end = min(granules, 1);
    const int described_rows = length / kBlockSize * kBlockSize;
    const int window_row = max(length - window, 0) / kBlockSize * kBlockSize;
    tail_begin = max(min(window_row, described_rows) / granule, head_end);
  }
  __device__ int candidates() const { return tail_begin - head_end; }
};

// Pinned granules of one group that lie outside head and tail, each once, in shared memory.
struct PinnedGranules {
  int count;
  int granules[kMostPinned];

  // Of the first warp of a block, which must synchronise afterwards.
  __device__ void load(const PinnedView& pinned, int group, const DeviceKept& kept) {
    const int lane = static_cast<int>(threadIdx.x);
    int granule = -1;
    if (pinned.counts != nullptr && lane < min(pinned.capacity, kMostPinned)) {
      const int block = pinned.blocks[std::int64_t{group} * pinned.capacity + lane];
      const int given = pinned.counts[group];
      const int own = block / (kept.granule / kBlockSize);
      if (lane < given && block >= 0 && own >= kept.head_end && own < kept.tail_begin)
        granule = own;
    }
    for (int i = 0; i < kMostPinned; ++i) {
      const int other = __shfl_sync(kAllLanes, granule, i);
      if (i < lane && other == granule) granule = -1;
    }
    const unsigned found = __ballot_sync(kAllLanes, granule >= 0);
    if (granule >= 0) granules[__popc(found & ((1u << lane) - 1))] = granule;
    if (lane == 0) count = __popc(found);
  }
  __device__ bool contains(int granule) const {
    bool found = false;
    for (int i = 0; i < count; ++i) found = found || granules[i] == granule;
    return found;
  }
};

// Granule of kept rows: lists of rows keep whole blocks.
__device__ inline int kept_granule(const RouterStep& step) {
  return step.lists.granule < kBlockSize ? kBlockSize : step.lists.granule;
}

// Blocks of threads that attend to the kept set of a KV head.
__device__ inline int kept_units_of(const RouterStep& step, const DeviceKept& kept) {
  const int slots = kept.head_end + (step.pinned.counts != nullptr ? step.pinned.capacity : 0) +
                    kept.granules - kept.tail_begin;
  return min((slots * (kept.granule / kBlockSize) + kKeptBlocks - 1) / kKeptBlocks,
             step.kept_units);
}

__device__ inline float group_epsilon(const RouterStep& step, int kv_head) {
  return step.tightening == nullptr ? step.epsilon : step.epsilon * step.tightening[kv_head];
}

__device__ inline std::int32_t* group_list(const RouterStep& step, std::int64_t group_index) {
  return step.lists.granules + group_index * step.lists.capacity;
}

}  // namespace sinkrouter::cuda
