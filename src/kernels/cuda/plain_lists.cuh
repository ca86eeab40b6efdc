#pragma once

#include "kernels/cuda/kept_lists.cuh"

// Lists that need no estimates, one CTA a group.
namespace sinkrouter::cuda {

// Whether every q head of the group looks at row 0: its cosine is at least tau.
template <typename T>
__device__ bool all_look_at_first_row(const RouterStep& step, int sequence, int kv_head,
                                      int& objections) {
  const KvView& kv = step.kv;
  const int group = step.q_heads / kv.kv_heads;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  if (threadIdx.x == 0) objections = 0;
  __syncthreads();
  if (warp < group) {
    const T* key = static_cast<const T*>(kv.keys) + device_row_offset(kv, sequence, kv_head, 0);
    const float* query =
        step.queries +
        (std::int64_t{sequence} * step.q_heads + kv_head * group + warp) * kv.head_dim;
    float dot = 0;
    float query_square = 0;
    float key_square = 0;
    for (int c = lane; c < kv.head_dim; c += kWarp) {
      const auto k = static_cast<float>(key[c]);
      dot = fmaf(query[c], k, dot);
      query_square = fmaf(query[c], query[c], query_square);
      key_square = fmaf(k, k, key_square);
    }
    dot = warp_sum(dot);
    query_square = warp_sum(query_square);
    key_square = warp_sum(key_square);
    if (lane == 0 && !(dot / sqrtf(query_square * key_square) >= step.tau)) {
      atomicAdd(&objections, 1);
    }
  }
  __syncthreads();
  return objections == 0;
}

template <typename T>
__global__ void __launch_bounds__(kListThreads) plain_lists_kernel(const RouterStep step) {
  __shared__ PinnedGranules pinned;
  __shared__ int objections;
  follow_previous();
  const KvView& kv = step.kv;
  const int group_index = blockIdx.x;
  const int sequence = group_index / kv.kv_heads;
  const int kv_head = group_index % kv.kv_heads;
  const int length = kv.lengths[sequence];
  std::int32_t* list = group_list(step, group_index);
  const DeviceKept kept(length, kept_granule(step), step.window);
  const bool rows = step.lists.granule < kBlockSize;
  if (threadIdx.x < kWarp) pinned.load(step.pinned, group_index, kept);
  __syncthreads();
  int count = 0;
  bool routed = false;
  if (step.rule == RouterRule::kStreaming) {
    count = rows ? write_kept_rows(kept, pinned, list) : write_kept(kept, pinned, list);
    routed = true;
  } else if (step.rule == RouterRule::kCosine && length > 0 &&
             all_look_at_first_row<T>(step, sequence, kv_head, objections)) {
    count = write_run(list, 0, 0, 1);
    routed = true;
  } else {
    count = write_run(list, 0, 0, rows ? length : kept.granules);
  }
  if (threadIdx.x == 0) {
    step.lists.counts[group_index] = count;
    step.routed[group_index] = routed ? 1 : 0;
  }
}

}  // namespace sinkrouter::cuda
