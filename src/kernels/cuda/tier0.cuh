#pragma once

#include "kernels/cuda/query_sketch.cuh"
#include "kernels/cuda/tier0_kept.cuh"

// Tier 0 in one launch: units of three kinds of work that no other waits for.
namespace sinkrouter::cuda {

// What the CTA's units are: sequence after sequence; of one, KV head after KV head; of one, the
// kept set's, one of queries, those of scores.
struct Tier0Units {
  std::int32_t ends[kMostSequences];

  __device__ static int scores_of(int length) {
    return (length / kBlockSize + kScoreUnit - 1) / kScoreUnit;
  }
  __device__ static int of_group(const RouterStep& step, int sequence) {
    const int length = step.kv.lengths[sequence];
    const DeviceKept kept(length, kept_granule(step), step.window);
    return kept_units_of(step, kept) + 1 + scores_of(length);
  }
  // Of the first warp.
  __device__ void fill(const RouterStep& step) {
    int base = 0;
    for (int first = 0; first < step.kv.sequences; first += kWarp) {
      const int sequence = first + threadIdx.x;
      const int own =
          sequence < step.kv.sequences ? of_group(step, sequence) * step.kv.kv_heads : 0;
      const int prefix = base + warp_prefix(own);
      if (sequence < step.kv.sequences) ends[sequence] = prefix;
      base = __shfl_sync(kAllLanes, prefix, kWarp - 1);
    }
  }
  __device__ int find(int unit, int sequences) const {
    int low = 0;
    int high = sequences - 1;
    while (low < high) {
      const int middle = (low + high) / 2;
      if (unit < ends[middle]) {
        high = middle;
      } else {
        low = middle + 1;
      }
    }
    return low;
  }
};

template <int kDim>
union Tier0Shared {
  QueryFragments<kDim> fragments;
  float rotated[kMostGroup][kDim];
  float2 parts[kTier0Warps][kMostGroup];
};

template <int kDim, typename T>
__global__ void __launch_bounds__(kTier0Threads) tier0_kernel(const RouterStep step) {
  extern __shared__ __align__(16) unsigned char memory[];
  Tier0Shared<kDim>& shared = *reinterpret_cast<Tier0Shared<kDim>*>(memory);
  __shared__ Tier0Units units;
  __shared__ PinnedGranules pinned;
  __shared__ float references[kMostGroup];
  follow_previous();
  const KvView& kv = step.kv;
  const RouterWorkspace& work = step.workspace;
  const int group = step.q_heads / kv.kv_heads;
  if (threadIdx.x < kWarp) units.fill(step);
  for (int i = blockIdx.x * kTier0Threads + threadIdx.x;
       i < 2 * kv.sequences * kv.kv_heads * work.chunks; i += gridDim.x * kTier0Threads) {
    work.progress[i] = 0;
  }
  __syncthreads();
  const int total = kv.sequences > 0 ? units.ends[kv.sequences - 1] : 0;
  std::int64_t filled = -1;  // the group whose fragments are in shared memory
  for (int unit = blockIdx.x; unit < total; unit += gridDim.x) {
    const int sequence = units.find(unit, kv.sequences);
    const int begin = sequence > 0 ? units.ends[sequence - 1] : 0;
    const int length = kv.lengths[sequence];
    const DeviceKept kept(length, kept_granule(step), step.window);
    const int kept_count = kept_units_of(step, kept);
    const int of_kinds = (kept_count + 1) * kv.kv_heads;
    const int within = unit - begin;
    if (within < kept_count * kv.kv_heads) {
      const int kv_head = within / kept_count;
      __syncthreads();
      if (threadIdx.x < kWarp) pinned.load(step.pinned, sequence * kv.kv_heads + kv_head, kept);
      __syncthreads();
      filled = -1;
      attend_kept_unit<kDim, T>(step, kept, pinned, sequence, kv_head, within % kept_count,
                                shared.parts);
    } else if (within < of_kinds) {
      filled = -1;
      if (step.lists.granule < kBlockSize) {
        sketch_queries_of<kDim>(step, sequence, within - kept_count * kv.kv_heads, shared.rotated);
      }
    } else {
      const int score_count = Tier0Units::scores_of(length);
      const int kv_head = (within - of_kinds) / score_count;
      const int span = (within - of_kinds) % score_count;
      const std::int64_t wanted = std::int64_t{sequence} * kv.kv_heads + kv_head;
      const int first = span * kScoreUnit + threadIdx.x / kWarp * kTileBlocks;
      const int blocks = length / kBlockSize;
      TileCodes<kDim> codes;
      if (first < blocks) codes.load(step, sequence, kv_head, first, blocks);
      if (filled != wanted) {
        __syncthreads();
        if (threadIdx.x < kWarp) pinned.load(step.pinned, static_cast<int>(wanted), kept);
        shared.fragments.fill(step.queries + wanted * group * kDim, group);
        find_references<kDim, T>(step, sequence, kv_head, length, references);
        __syncthreads();
        filled = wanted;
      }
      if (span == 0 && threadIdx.x < group) {
        work.references[wanted * group + threadIdx.x] = references[threadIdx.x];
      }
      const ScoreTarget target{sequence, kv_head, group,     head_slots(group),
                               kept,     pinned,  references};
      if (first < blocks) {
        score_tile<kDim>(step, shared.fragments, codes, target, first, blocks);
      }
    }
  }
}

}  // namespace sinkrouter::cuda
