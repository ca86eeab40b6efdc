#pragma once

#include "kernels/cuda/kept_lists.cuh"
#include "kernels/cuda/mass_select.cuh"

// One CTA a q head chooses what it needs; the last of a group unites them and writes the list.
namespace sinkrouter::cuda {

// Log-mass of a granule of several blocks.
__device__ inline float granule_score(const float* scores, int granule, int parts) {
  if (parts == 1) return scores[granule];
  float largest = -infinity();
  bool doubtful = false;
  for (int i = 0; i < parts; ++i) {
    const float score = scores[granule * parts + i];
    largest = fmaxf(largest, score);
    doubtful = doubtful || score != score;
  }
  if (doubtful) return __int_as_float(0x7fc00000);
  if (largest == -infinity() || largest == infinity()) return largest;
  float sum = 0;
  for (int i = 0; i < parts; ++i) sum += __expf(scores[granule * parts + i] - largest);
  return largest + __logf(sum);
}

// Log-sum-exp of the kept set, by one warp, known to all its lanes.
__device__ inline float join_kept_parts(const RouterStep& step, std::int64_t head, int units) {
  float2 all = {-infinity(), 0.0f};
  const float2* parts = step.workspace.kept_parts + head * step.kept_units;
  for (int i = threadIdx.x % kWarp; i < units; i += kWarp) {
    const float2 part = parts[i];
    const float largest = fmaxf(all.x, part.x);
    const float a = largest == -infinity() ? 1.0f : __expf(all.x - largest);
    const float b = largest == -infinity() ? 1.0f : __expf(part.x - largest);
    all = {largest, all.y * a + part.y * b};
  }
  const float largest = warp_max(all.x);
  const float sum = warp_sum(all.y * (largest == -infinity() ? 1.0f : __expf(all.x - largest)));
  if (sum != sum) return sum;
  return sum > 0 ? largest + logf(sum) : -infinity();
}

struct SelectBlock {
  SelectShared choice;
  PinnedGranules pinned;
  float kept_lse;
  int last;
  int worst;
};

__global__ void __launch_bounds__(kSelectThreads) select_blocks_kernel(const RouterStep step) {
  extern __shared__ __align__(16) unsigned char memory[];
  SelectBlock& shared = *reinterpret_cast<SelectBlock*>(memory);
  release_next();
  wait_for_previous();
  const KvView& kv = step.kv;
  const RouterWorkspace& work = step.workspace;
  const std::int64_t head = blockIdx.x;
  const int group = step.q_heads / kv.kv_heads;
  const int sequence = static_cast<int>(head / step.q_heads);
  const int kv_head = static_cast<int>(head % step.q_heads) / group;
  const int group_index = sequence * kv.kv_heads + kv_head;
  const int length = kv.lengths[sequence];
  const DeviceKept kept(length, kept_granule(step), step.window);
  const bool rows = step.lists.granule < kBlockSize;
  const int parts = kept.granule / kBlockSize;
  const int candidates = kept.candidates();
  if (threadIdx.x == 0) {
    shared.pinned.load(step.pinned, group_index, kept);
    shared.worst = kNeedsNothing;
  }
  if (threadIdx.x < kWarp) {
    const int slots = kept.head_end + (step.pinned.counts != nullptr ? step.pinned.capacity : 0) +
                      kept.granules - kept.tail_begin;
    constexpr int kUnit = 8;
    const float lse =
        join_kept_parts(step, head, min((slots * parts + kUnit - 1) / kUnit, step.kept_units));
    if (threadIdx.x == 0) {
      shared.kept_lse = lse;
      work.kept_lse[head] = lse;
    }
  }
  __syncthreads();

  const float epsilon = group_epsilon(step, kv_head) * (rows ? step.block_share : 1.0f);
  const float* scores = work.scores + head * work.block_stride;
  std::uint32_t* words = work.needed + head * work.block_stride;
  MassChoice choice = {kNeedsUnknown, -infinity()};
  if (epsilon > 0.0f) {
    choice = choose_by_mass(
        [&](int index) {
          const int granule = kept.head_end + index;
          return shared.pinned.contains(granule) ? -infinity()
                                                 : granule_score(scores, granule, parts);
        },
        candidates, shared.kept_lse, -infinity(), epsilon, words, shared.choice);
  }
  if (threadIdx.x == 0) {
    work.needs[head] = choice.need;
    work.left[head] = choice.left;
  }
  if (!arrives_last(work.arrivals + group_index, group, shared.last)) return;

  const std::int64_t first_head = std::int64_t{sequence} * step.q_heads + kv_head * group;
  if (threadIdx.x < group) {
    atomicMax(&shared.worst, static_cast<int>(__ldcg(work.needs + first_head + threadIdx.x)));
  }
  __syncthreads();
  const int worst = shared.worst;
  const auto united = [&](int word) {
    std::uint32_t bits = 0;
    for (int q = 0; q < group; ++q) {
      if (__ldcg(work.needs + first_head + q) == kNeedsSome) {
        bits |= __ldcg(work.needed + (first_head + q) * work.block_stride + word);
      }
    }
    for (int i = 0; i < shared.pinned.count; ++i) {
      const int candidate = shared.pinned.granules[i] - kept.head_end;
      if (candidate / kWarp == word) bits |= 1u << (candidate % kWarp);
    }
    return bits;
  };
  const auto granule_of = [&](int candidate) { return kept.head_end + candidate; };
  const int word_count = (candidates + kWarp - 1) / kWarp;
  if (rows) {
    std::int32_t* list = work.blocks + group_index * work.block_stride;
    int count = 0;
    if (worst == kNeedsUnknown) {
      count = write_run(list, 0, kept.head_end, kept.tail_begin);
      if (threadIdx.x < group) work.left[first_head + threadIdx.x] = -infinity();
    } else if (worst == kNeedsSome) {
      count = write_set_bits(word_count, united, granule_of, 0, list, shared.choice);
    }
    if (threadIdx.x == 0) work.block_counts[group_index] = count;
    return;
  }
  std::int32_t* list = group_list(step, group_index);
  const bool everything =
      worst == kNeedsUnknown || (step.rule == RouterRule::kRoute && worst == kNeedsSome);
  int count = 0;
  bool routed = worst == kNeedsNothing;
  if (everything) {
    count = write_run(list, 0, 0, kept.granules);
    routed = candidates == shared.pinned.count;
  } else if (worst == kNeedsNothing) {
    count = write_kept(kept, shared.pinned, list);
  } else {
    count = write_run(list, 0, 0, kept.head_end);
    count = write_set_bits(word_count, united, granule_of, count, list, shared.choice);
    count = write_run(list, count, kept.tail_begin, kept.granules);
  }
  if (threadIdx.x == 0) {
    step.lists.counts[group_index] = count;
    step.routed[group_index] = routed ? 1 : 0;
  }
}

__global__ void __launch_bounds__(kSelectThreads) select_rows_kernel(const RouterStep step) {
  extern __shared__ __align__(16) unsigned char memory[];
  SelectBlock& shared = *reinterpret_cast<SelectBlock*>(memory);
  release_next();
  wait_for_previous();
  const KvView& kv = step.kv;
  const RouterWorkspace& work = step.workspace;
  const std::int64_t head = blockIdx.x;
  const int group = step.q_heads / kv.kv_heads;
  const int sequence = static_cast<int>(head / step.q_heads);
  const int kv_head = static_cast<int>(head % step.q_heads) / group;
  const int group_index = sequence * kv.kv_heads + kv_head;
  const DeviceKept kept(kv.lengths[sequence], kBlockSize, step.window);
  const int block_count = work.block_counts[group_index];
  const std::int32_t* blocks = work.blocks + group_index * work.block_stride;
  if (threadIdx.x == 0) {
    shared.pinned.load(step.pinned, group_index, kept);
    shared.worst = kNeedsNothing;
  }
  __syncthreads();

  const float epsilon = group_epsilon(step, kv_head);
  const float* scores = work.row_scores + head * work.row_stride;
  std::uint32_t* words = work.needed + head * work.block_stride;
  MassChoice choice = {kNeedsNothing, -infinity()};
  if (block_count > 0) {
    choice.need = kNeedsUnknown;
    if (epsilon > 0.0f) {
      choice = choose_by_mass([&](int index) { return scores[index]; }, block_count * kBlockSize,
                              work.kept_lse[head], work.left[head], epsilon, words, shared.choice);
    }
  }
  if (threadIdx.x == 0) work.needs[head] = choice.need;
  std::uint32_t* arrivals = work.arrivals + kv.sequences * kv.kv_heads + group_index;
  if (!arrives_last(arrivals, group, shared.last)) return;

  const std::int64_t first_head = std::int64_t{sequence} * step.q_heads + kv_head * group;
  if (threadIdx.x < group) {
    atomicMax(&shared.worst, static_cast<int>(__ldcg(work.needs + first_head + threadIdx.x)));
  }
  __syncthreads();
  const int worst = shared.worst;
  std::int32_t* list = group_list(step, group_index);
  int count = 0;
  bool routed = false;
  if (worst == kNeedsUnknown) {
    count = write_run(list, 0, 0, kept.length);
  } else if (block_count == 0) {
    count = write_kept_rows(kept, shared.pinned, list);
    routed = true;
  } else {
    count = write_run(list, 0, 0, min(kept.head_end * kBlockSize, kept.length));
    count = write_set_bits(
        block_count,
        [&](int word) {
          if (shared.pinned.contains(blocks[word])) return kAllLanes;
          std::uint32_t bits = 0;
          for (int q = 0; q < group; ++q) {
            if (__ldcg(work.needs + first_head + q) == kNeedsSome) {
              bits |= __ldcg(work.needed + (first_head + q) * work.block_stride + word);
            }
          }
          return bits;
        },
        [&](int candidate) {
          return __ldg(blocks + candidate / kBlockSize) * kBlockSize + candidate % kBlockSize;
        },
        count, list, shared.choice);
    count = write_run(list, count, kept.tail_begin * kBlockSize, kept.length);
    routed = worst == kNeedsNothing;
  }
  if (threadIdx.x == 0) {
    step.lists.counts[group_index] = count;
    step.routed[group_index] = routed ? 1 : 0;
  }
}

}  // namespace sinkrouter::cuda
