#pragma once

#include "kernels/cuda/mass_histogram.cuh"

// Tier 1: estimated logits of the rows of listed blocks, from their sketches. Codes meet queries in
// 8-bit integers on the tensor cores, so that sums are exact.
namespace sinkrouter::cuda {

inline constexpr int kTier1Threads = 1024;
inline constexpr int kTier1Warps = kTier1Threads / kWarp;
inline constexpr int kMostGroups = 8192;  // KV head groups of a step
inline constexpr int kIntHeads = 8;       // columns of an integer mma

__device__ inline void mma_s8(int (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0,
                              std::uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Words of sketches of a row; lane quarter t takes words t, t + 4 ... A word makes two k-steps at 4
// codes a byte, one at 2 codes a byte (in halves of a k-step, four channels each).
template <int kDim, int kBits>
struct SketchShape {
  static constexpr int kWords = kDim * kBits / 32;
  static constexpr int kOwn = (kWords + 3) / 4;     // words of a lane quarter
  static constexpr int kQuads = 8 / kBits;          // runs of 4 channels in a word
  static constexpr int kSteps = kOwn * kQuads / 2;  // of 32 channels
};

// The queries' codes of a KV head as B fragments: column g is q head g of the tile.
template <int kDim, int kBits>
__device__ void load_query_codes(const RouterStep& step, std::int64_t first_head, int heads,
                                 std::uint32_t (&b)[SketchShape<kDim, kBits>::kSteps][2]) {
  using Shape = SketchShape<kDim, kBits>;
  const int lane = threadIdx.x % kWarp;
  const int g = lane / 4;
  const int t = lane % 4;
#pragma unroll
  for (int s = 0; s < Shape::kSteps; ++s) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int quad = 2 * s + half;  // along the lane's words
      const int word = t + 4 * (quad / Shape::kQuads);
      const int channel = word * (32 / kBits) + quad % Shape::kQuads * 4;
      b[s][half] = 0;
      if (g < heads && word < Shape::kWords) {
        b[s][half] = *reinterpret_cast<const std::uint32_t*>(step.workspace.query_codes +
                                                             (first_head + g) * kDim + channel);
      }
    }
  }
}

// Of one block: 32 rows, lane (g, t) holding rows 4 g .. 4 g + 3 and words t, t + 4 ...
template <int kDim, int kBits>
struct BlockCodes {
  uint4 words[SketchShape<kDim, kBits>::kOwn];
  uint2 scales;  // fp16 of rows 4 g .. 4 g + 3

  __device__ void load(const SketchView& sketches, std::int64_t index) {
    using Shape = SketchShape<kDim, kBits>;
    const int lane = threadIdx.x % kWarp;
    const int g = lane / 4;
    const int t = lane % 4;
    const std::uint32_t* codes = sketches.codes + index * Shape::kWords * kBlockSize;
#pragma unroll
    for (int i = 0; i < Shape::kOwn; ++i) {
      const int word = t + 4 * i;
      words[i] = word < Shape::kWords
                     ? __ldg(reinterpret_cast<const uint4*>(codes + word * kBlockSize + 4 * g))
                     : uint4{};
    }
    scales = __ldg(reinterpret_cast<const uint2*>(sketches.scales + index * kBlockSize + 4 * g));
  }
};

// What a lane knows of its two q heads of the tile (2 t and 2 t + 1).
struct HeadFactors {
  float step[2];    // scale * the query's step
  float shift[2];   // middle code * the sum of its codes
  float hidden[2];  // 0.5 * scale^2 * |query|^2 * noise
  float reference[2];
};

template <int kBits>
__device__ HeadFactors head_factors(const RouterStep& step, std::int64_t first_head, int heads) {
  constexpr float kNoise = kBits == 2 ? 0.1198f : 0.1027f;
  constexpr float kCentre = 0.5f * ((1 << kBits) - 1);
  HeadFactors factors = {};
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int head = 2 * static_cast<int>(threadIdx.x % 4) + i;
    if (head >= heads) continue;
    const RouterWorkspace& work = step.workspace;
    factors.step[i] = step.scale * work.query_steps[first_head + head];
    factors.shift[i] = kCentre * static_cast<float>(work.query_sums[first_head + head]);
    factors.reference[i] = work.references[first_head + head];
    factors.hidden[i] =
        0.5f * step.scale * step.scale * work.query_squares[first_head + head] * kNoise;
  }
  return factors;
}

// Where a tile of q heads puts what it finds for rows, and where tier 0 left scale * q.mean.
struct RowTarget {
  const float* means;         // of the group and tile
  std::uint16_t* bins;        // likewise
  std::uint32_t* histograms;  // [heads, kMassBins], in shared memory
  std::uint32_t* doubtful;    // [heads]
  int heads;
  int slots;

  // Of a block for the lane's two q heads.
  __device__ float2 load_means(int block) const {
    const int head = 2 * static_cast<int>(threadIdx.x % 4);
    return head < heads
               ? *reinterpret_cast<const float2*>(means + std::int64_t{block} * slots + head)
               : float2{};
  }
  __device__ std::uint32_t* pair_of(int row) const {
    const int head = 2 * static_cast<int>(threadIdx.x % 4);
    return reinterpret_cast<std::uint32_t*>(bins + std::int64_t{row} * slots + head);
  }
};

template <int kDim, int kBits>
__device__ void score_rows(const BlockCodes<kDim, kBits>& codes,
                           const std::uint32_t (&b)[SketchShape<kDim, kBits>::kSteps][2],
                           const HeadFactors& factors, const RowTarget& target, float2 means,
                           int listed) {
  using Shape = SketchShape<kDim, kBits>;
  constexpr std::uint32_t kMask = ((1u << kBits) - 1) * 0x01010101u;
  const int lane = threadIdx.x % kWarp;
  const int g = lane / 4;
  const int t = lane % 4;
  int sums[2][4] = {};  // rows 4 g + 2 i, 4 g + 2 i + 1 for each of two heads
#pragma unroll
  for (int s = 0; s < Shape::kSteps; ++s) {
    std::uint32_t a[2][4];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int quad = 2 * s + half;
      const uint4 word = codes.words[quad / Shape::kQuads];
      const int shift = quad % Shape::kQuads * kBits;
      a[0][2 * half] = (word.x >> shift) & kMask;
      a[0][2 * half + 1] = (word.y >> shift) & kMask;
      a[1][2 * half] = (word.z >> shift) & kMask;
      a[1][2 * half + 1] = (word.w >> shift) & kMask;
    }
    mma_s8(sums[0], a[0], b[s][0], b[s][1]);
    mma_s8(sums[1], a[1], b[s][0], b[s][1]);
  }
  const float2 low = __half22float2(*reinterpret_cast<const __half2*>(&codes.scales.x));
  const float2 high = __half22float2(*reinterpret_cast<const __half2*>(&codes.scales.y));
  const float scales[4] = {low.x, low.y, high.x, high.y};
  if (2 * t >= target.heads) return;
#pragma unroll
  for (int r = 0; r < 4; ++r) {
    std::uint32_t pair = 0;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int head = 2 * t + i;
      if (head >= target.heads) continue;
      // c0, c1: row g of the tile, columns 2 t and 2 t + 1; c2, c3: row g + 8.
      const int product = sums[r / 2][i + r % 2 * 2];
      const float along =
          factors.step[i] * scales[r] * (static_cast<float>(product) - factors.shift[i]);
      const float score =
          (i == 0 ? means.x : means.y) + along + factors.hidden[i] * scales[r] * scales[r];
      const auto bin = static_cast<std::uint32_t>(bin_of(score, factors.reference[i]));
      atomicAdd(target.histograms + head * kMassBins + bin, 1u);
      if (!is_usable(score)) atomicOr(target.doubtful + head, 1u);
      pair |= bin << (16 * i);
    }
    *target.pair_of(listed * kBlockSize + 4 * g + r) = pair;
  }
}

// A kept block's rows have no bins.
__device__ inline void mark_kept(const RowTarget& target, int listed) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  if (2 * (lane % 4) >= target.heads) return;
  for (int r = 0; r < 4; ++r) {
    *target.pair_of(listed * kBlockSize + lane / 4 * 4 + r) = kAlwaysRead << 16 | kAlwaysRead;
  }
}

// Prefix sums of what groups list, in shared memory.
struct ListedBlocks {
  std::int32_t scratch[33];
  std::int32_t ends[kMostGroups];

  __device__ int fill(const std::int32_t* counts, int groups) {
    int base = 0;
    for (int first = 0; first < groups; first += kTier1Threads) {
      const int group = first + static_cast<int>(threadIdx.x);
      int total;
      const int prefix = block_prefix(group < groups ? counts[group] : 0, scratch, total);
      if (group < groups) ends[group] = base + prefix;
      base += total;
    }
    __syncthreads();
    return base;
  }
  __device__ int find(int item, int groups) const {
    int low = 0;
    int high = groups - 1;
    while (low < high) {
      const int middle = (low + high) / 2;
      if (item < ends[middle]) {
        high = middle;
      } else {
        low = middle + 1;
      }
    }
    return low;
  }
};

template <int kDim, int kBits>
__global__ void __launch_bounds__(kTier1Threads, 1) tier1_kernel(const RouterStep step) {
  using Shape = SketchShape<kDim, kBits>;
  constexpr int kAhead = 2;  // blocks whose loads a warp has under way
  extern __shared__ __align__(16) unsigned char memory[];
  std::uint32_t* histograms = reinterpret_cast<std::uint32_t*>(memory);
  __shared__ ListedBlocks listed;
  const KvView& kv = step.kv;
  const RouterWorkspace& work = step.workspace;
  const int groups = kv.sequences * kv.kv_heads;
  const int group_heads = step.q_heads / kv.kv_heads;
  const int slots = head_slots(group_heads);
  const std::int64_t all_heads = std::int64_t{kv.sequences} * step.q_heads;
  const int thread = static_cast<int>(threadIdx.x);
  const int warp = thread / kWarp;
  for (int i = thread; i < min(group_heads, kIntHeads) * kMassBins; i += kTier1Threads) {
    histograms[i] = 0;
  }
  follow_previous();
  const int total = listed.fill(work.block_counts, groups);
  const auto begin = static_cast<int>(std::int64_t{total} * blockIdx.x / gridDim.x);
  const auto end = static_cast<int>(std::int64_t{total} * (blockIdx.x + 1) / gridDim.x);
  if (begin >= end) return;

  for (int group = listed.find(begin, groups); group < groups; ++group) {
    const int first_of_group = group > 0 ? listed.ends[group - 1] : 0;
    if (first_of_group >= end) break;
    const int from = max(begin, first_of_group) - first_of_group;
    const int stop = min(end, listed.ends[group]) - first_of_group;
    if (from >= stop) continue;
    const std::int32_t* blocks = work.blocks + group * work.block_stride;
    const std::int32_t* indices = work.block_indices + group * work.block_stride;
    for (int tile = 0; tile < group_heads; tile += kIntHeads) {
      const std::int64_t first_head = std::int64_t{group} * group_heads + tile;
      const RowTarget target{work.mean_logits + group * work.block_stride * slots + tile,
                             work.row_bins + group * work.row_stride * slots + tile,
                             histograms,
                             work.doubtful + all_heads + first_head,
                             min(kIntHeads, group_heads - tile),
                             slots};
      std::uint32_t b[Shape::kSteps][2];
      load_query_codes<kDim, kBits>(step, first_head, target.heads, b);
      const HeadFactors factors = head_factors<kBits>(step, first_head, target.heads);
      for (int item = from + warp * kAhead; item < stop; item += kTier1Warps * kAhead) {
        BlockCodes<kDim, kBits> codes[kAhead];
        float2 means[kAhead];
        int index[kAhead];
#pragma unroll
        for (int i = 0; i < kAhead; ++i) {
          const int place = min(item + i, stop - 1);
          index[i] = __ldcg(indices + place);
          means[i] = target.load_means(__ldcg(blocks + place));
        }
#pragma unroll
        for (int i = 0; i < kAhead; ++i) codes[i].load(step.sketches, max(index[i], 0));
#pragma unroll
        for (int i = 0; i < kAhead; ++i) {
          if (item + i >= stop) continue;
          if (index[i] < 0) {
            mark_kept(target, item + i);
          } else {
            score_rows<kDim, kBits>(codes[i], b, factors, target, means[i], item + i);
          }
        }
      }
      __syncthreads();
      std::uint32_t* to = work.histograms + (all_heads + first_head) * kMassBins;
      for (int i = thread; i < target.heads * kMassBins; i += kTier1Threads) {
        const std::uint32_t count = histograms[i];
        if (count == 0) continue;
        atomicAdd(to + i, count);
        histograms[i] = 0;
      }
      __syncthreads();
    }
  }
}

}  // namespace sinkrouter::cuda
