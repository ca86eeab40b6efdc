#pragma once

#include "kernels/cuda/mass_histogram.cuh"

// From bins to lists: every block of threads works out the thresholds of its group's q heads from
// their histograms, marks a chunk of the candidates, learns from the chunks before how many they
// list, and writes its own. Blocks wait for lower ones only, so that they need not all run at once.
namespace sinkrouter::cuda {

inline constexpr int kSelectThreads = 512;
inline constexpr int kSelectWarps = kSelectThreads / kWarp;

struct SelectShared {
  std::int32_t scratch[33];
  std::uint32_t first_bins[kMostGroup];
  int takes;
  int unknown;
  int count;
  int base;
};

// Bins of one candidate for all q heads of the group.
template <int kSlots>
struct CandidateBins {
  std::uint32_t pairs[kSlots / 2];

  __device__ void load(const std::uint16_t* bins) {
    if constexpr (kSlots == 2) {
      pairs[0] = __ldcg(reinterpret_cast<const std::uint32_t*>(bins));
    } else if constexpr (kSlots == 4) {
      const uint2 both = __ldcg(reinterpret_cast<const uint2*>(bins));
      pairs[0] = both.x;
      pairs[1] = both.y;
    } else {
#pragma unroll
      for (int i = 0; i < kSlots / 8; ++i) {
        const uint4 part = __ldcg(reinterpret_cast<const uint4*>(bins) + i);
        pairs[4 * i] = part.x;
        pairs[4 * i + 1] = part.y;
        pairs[4 * i + 2] = part.z;
        pairs[4 * i + 3] = part.w;
      }
    }
  }
  __device__ bool reaches(const std::uint32_t* first_bins) const {
    bool found = false;
#pragma unroll
    for (int i = 0; i < kSlots / 2; ++i) {
      found = found || (pairs[i] & 0xffffu) >= first_bins[2 * i] ||
              (pairs[i] >> 16) >= first_bins[2 * i + 1];
    }
    return found;
  }
  __device__ bool is_kept() const { return (pairs[0] & 0xffffu) == kAlwaysRead; }
};

// Log-sum-exp of the kept set, by one warp, known to all its lanes.
__device__ inline float join_kept_parts(const RouterStep& step, std::int64_t head, int units) {
  float2 all = {-infinity(), 0.0f};
  const float2* parts = step.workspace.kept_parts + head * step.kept_units;
  for (int i = threadIdx.x % kWarp; i < units; i += kWarp) {
    const float2 part = __ldcg(parts + i);
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

// Thresholds of the group's q heads, a warp each. Where everything is read all bins are above them.
template <bool kRows>
__device__ void find_thresholds(const RouterStep& step, std::int64_t first_head, int group,
                                int kept_units, bool has_candidates, float epsilon,
                                bool leaves_notes, SelectShared& shared) {
  const RouterWorkspace& work = step.workspace;
  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  const std::int64_t heads = std::int64_t{step.kv.sequences} * step.q_heads;
  if (warp < group) {
    const std::int64_t head = first_head + warp;
    const std::int64_t counted = kRows ? heads + head : head;
    const bool doubtful = __ldcg(work.doubtful + counted) != 0;
    const float reference = __ldcg(work.references + head);
    float kept;
    float left = -infinity();
    if constexpr (kRows) {
      kept = __ldcg(work.kept_lse + head);
      left = __ldcg(work.left + head);
    } else {
      kept = join_kept_parts(step, head, kept_units);
    }
    MassThreshold found = {kMassBins, false, false, -infinity()};
    if (has_candidates) {
      found = find_threshold(work.histograms + counted * kMassBins, doubtful, reference, kept, left,
                             epsilon);
    }
    if (threadIdx.x % kWarp == 0) {
      shared.first_bins[warp] = found.first_bin;
      if (found.takes) atomicOr(&shared.takes, 1);
      if (found.unknown) atomicOr(&shared.unknown, 1);
      if (!kRows && leaves_notes) {
        work.kept_lse[head] = kept;
        work.left[head] = found.left;
      }
    }
  }
  __syncthreads();
  const bool everything = shared.unknown != 0 || (step.rule == RouterRule::kRoute && shared.takes);
  if (everything && threadIdx.x < kMostGroup) shared.first_bins[threadIdx.x] = 0;
  __syncthreads();
}

// Says what this chunk lists, and learns what those before it do.
__device__ inline int entries_before(std::uint32_t* progress, int chunk, int own) {
  if (threadIdx.x >= kWarp) return 0;
  if (threadIdx.x == 0) {
    __threadfence();
    atomicExch(progress + chunk, static_cast<std::uint32_t>(own) + 1);
  }
  int before = 0;
  for (int i = static_cast<int>(threadIdx.x); i < chunk; i += kWarp) {
    const volatile std::uint32_t* other = progress + i;
    std::uint32_t seen = *other;
    while (seen == 0) seen = *other;
    before += static_cast<int>(seen) - 1;
  }
  __threadfence();
  return warp_sum(before);
}

template <bool kRows, int kSlots>
__global__ void __launch_bounds__(kSelectThreads) select_kernel(const RouterStep step) {
  constexpr int kAhead = 4;  // words whose bins a warp asks for at once
  extern __shared__ __align__(16) unsigned char memory[];
  std::uint32_t* words = reinterpret_cast<std::uint32_t*>(memory);  // of this chunk
  __shared__ SelectShared shared;
  const KvView& kv = step.kv;
  const RouterWorkspace& work = step.workspace;
  const int group = step.q_heads / kv.kv_heads;
  const int group_index = blockIdx.y;
  const int sequence = group_index / kv.kv_heads;
  const int kv_head = group_index % kv.kv_heads;
  const std::int64_t first_head = std::int64_t{sequence} * step.q_heads + kv_head * group;
  const int thread = static_cast<int>(threadIdx.x);
  const int lane = thread % kWarp;
  const int warp = thread / kWarp;
  const int length = kv.lengths[sequence];
  const bool lists_rows = kRows || step.lists.granule >= kBlockSize;  // else blocks to look at
  const DeviceKept kept(length, kept_granule(step), step.window);
  if (thread < kMostGroup) shared.first_bins[thread] = kAlwaysRead + 1;
  if (thread == 0) {
    shared.takes = 0;
    shared.unknown = 0;
    shared.count = 0;
  }
  follow_previous();
  __syncthreads();

  const int all_words =
      kRows ? __ldcg(work.block_counts + group_index) : (kept.granules + kWarp - 1) / kWarp;
  const int chunk = blockIdx.x;
  const int chunks = min(static_cast<int>(gridDim.x),
                         max(1, (all_words + kLeastChunkWords - 1) / kLeastChunkWords));
  if (chunk >= chunks) return;
  const auto first_word = static_cast<int>(std::int64_t{all_words} * chunk / chunks);
  const auto end_word = static_cast<int>(std::int64_t{all_words} * (chunk + 1) / chunks);
  const int own_words = end_word - first_word;
  const std::uint16_t* bins = kRows ? work.row_bins + group_index * work.row_stride * kSlots
                                    : work.bins + group_index * work.block_stride * kSlots;
  CandidateBins<kSlots> ahead[kAhead];
  const auto load = [&](int first) {
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      const int word = min(first + i * kSelectWarps, max(own_words - 1, 0));
      ahead[i].load(bins + (std::int64_t{first_word + word} * kWarp + lane) * kSlots);
    }
  };
  load(warp);
  const float epsilon = group_epsilon(step, kv_head) * (lists_rows ? 1.0f : step.block_share);
  find_thresholds<kRows>(step, first_head, group, kept_units_of(step, kept), kept.candidates() > 0,
                         epsilon, chunk == 0, shared);

  const int last_rows = length - (length - 1) / kBlockSize * kBlockSize;
  int marked = 0;
  for (int first = warp; first < own_words; first += kAhead * kSelectWarps) {
    if (first != warp) load(first);
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      const int word = first + i * kSelectWarps;
      if (word >= own_words) break;
      const int candidate = (first_word + word) * kWarp + lane;
      bool is_read = ahead[i].reaches(shared.first_bins);
      if constexpr (kRows) {
        is_read = is_read && (first_word + word < all_words - 1 || lane < last_rows);
      } else {
        const bool outside = candidate < kept.head_end || candidate >= kept.tail_begin;
        is_read = candidate < kept.granules && (is_read || outside);
        if (!lists_rows) {
          const bool is_kept = outside || ahead[i].is_kept();
          const unsigned kept_bits = __ballot_sync(kAllLanes, is_kept);
          if (lane == 0) words[own_words + word] = kept_bits;
        }
      }
      const unsigned bits = __ballot_sync(kAllLanes, is_read);
      if (lane == 0) words[word] = bits;
      marked += __popc(bits);
    }
  }
  if (lane == 0) atomicAdd(&shared.count, marked);
  __syncthreads();

  std::uint32_t* progress =
      work.progress +
      (std::int64_t{kRows ? kv.sequences * kv.kv_heads : 0} + group_index) * gridDim.x;
  const int before = entries_before(progress, chunk, shared.count);
  if (thread == 0) shared.base = before;
  __syncthreads();
  int at = shared.base;
  const int total = at + shared.count;
  // Rows that no sketch spoke for may matter too.
  const bool all_rows = kRows && shared.unknown != 0;
  std::int32_t* list =
      lists_rows ? group_list(step, group_index) : work.blocks + group_index * work.block_stride;
  std::int32_t* indices = work.block_indices + group_index * work.block_stride;
  const std::int32_t* blocks = work.blocks + group_index * work.block_stride;
  if (all_rows) {
    const auto end = static_cast<int>(std::int64_t{length} * (chunk + 1) / chunks);
    for (int row = static_cast<int>(std::int64_t{length} * chunk / chunks) + thread; row < end;
         row += kSelectThreads) {
      list[row] = row;
    }
  }
  for (int first = 0; first < own_words && !all_rows; first += kSelectThreads) {
    const int word = first + thread;
    const std::uint32_t bits = word < own_words ? words[word] : 0u;
    const int own = __popc(bits);
    int added;
    const int begin = at + block_prefix(own, shared.scratch, added) - own;
    for (unsigned rest = __ballot_sync(kAllLanes, bits != 0); rest != 0; rest &= rest - 1) {
      const int from = __ffs(static_cast<int>(rest)) - 1;
      const std::uint32_t of_word = __shfl_sync(kAllLanes, bits, from);
      const int start = __shfl_sync(kAllLanes, begin, from);
      if ((of_word >> lane & 1u) == 0) continue;
      const int place = start + __popc(of_word & ((1u << lane) - 1));
      const int source = first_word + word - lane + from;
      if constexpr (kRows) {
        list[place] = __ldcg(blocks + source) * kBlockSize + lane;
      } else {
        const int granule = source * kWarp + lane;
        list[place] = granule;
        if (!lists_rows) {
          const bool is_kept = (words[own_words + source - first_word] >> lane & 1u) != 0;
          indices[place] =
              is_kept
                  ? -1
                  : static_cast<std::int32_t>(device_block_index(kv, sequence, kv_head, granule));
        }
      }
    }
    at += added;
  }
  if (chunk != chunks - 1) return;

  // All chunks of the group have read the histograms.
  const std::int64_t first_counted =
      (kRows ? std::int64_t{kv.sequences} * step.q_heads : 0) + first_head;
  uint4* histograms = reinterpret_cast<uint4*>(work.histograms + first_counted * kMassBins);
  for (int i = thread; i < group * kMassBins / 4; i += kSelectThreads) histograms[i] = uint4{};
  if (thread < group) work.doubtful[first_counted + thread] = 0;
  if (thread != 0) return;
  if (lists_rows) {
    step.lists.counts[group_index] = all_rows ? length : total;
    step.routed[group_index] = shared.takes == 0 ? 1 : 0;
  } else {
    work.block_counts[group_index] = total;
  }
}

}  // namespace sinkrouter::cuda
