#pragma once

#include "kernels/cuda/router_device.cuh"

// Tier 1: estimated logits of the rows of listed blocks, from their sketches. Codes meet queries in
// 8-bit integers on the tensor cores, so that sums are exact.
namespace sinkrouter::cuda {

inline constexpr int kTier1Threads = 256;
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
    factors.hidden[i] =
        0.5f * step.scale * step.scale * work.query_squares[first_head + head] * kNoise;
  }
  return factors;
}

// scale * q.mean of a block for the lane's two q heads, as tier 0 left it.
__device__ inline float2 load_means(const RouterStep& step, std::int64_t first_head, int heads,
                                    int block) {
  const int head = 2 * static_cast<int>(threadIdx.x % 4);
  const RouterWorkspace& work = step.workspace;
  const float* means = work.mean_logits + (first_head + head) * work.block_stride + block;
  return {head < heads ? means[0] : 0.0f, head + 1 < heads ? means[work.block_stride] : 0.0f};
}

template <int kDim, int kBits>
__device__ void score_rows(const RouterStep& step, const BlockCodes<kDim, kBits>& codes,
                           const std::uint32_t (&b)[SketchShape<kDim, kBits>::kSteps][2],
                           const HeadFactors& factors, std::int64_t first_head, int heads,
                           float2 means, int listed, bool silent) {
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
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int head = 2 * t + i;
    if (head >= heads) continue;
    const RouterWorkspace& work = step.workspace;
    const float mean = i == 0 ? means.x : means.y;
    // c0, c1: row g of the tile, columns 2 t and 2 t + 1; c2, c3: row g + 8.
    const int products[4] = {sums[0][i], sums[0][i + 2], sums[1][i], sums[1][i + 2]};
    float values[4];
#pragma unroll
    for (int r = 0; r < 4; ++r) {
      const float along =
          factors.step[i] * scales[r] * (static_cast<float>(products[r]) - factors.shift[i]);
      values[r] = silent ? -infinity() : mean + along + factors.hidden[i] * scales[r] * scales[r];
    }
    float* out = work.row_scores + (first_head + head) * work.row_stride +
                 std::int64_t{listed} * kBlockSize + 4 * g;
    *reinterpret_cast<float4*>(out) = {values[0], values[1], values[2], values[3]};
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
__global__ void __launch_bounds__(kTier1Threads, 3) tier1_kernel(const RouterStep step) {
  using Shape = SketchShape<kDim, kBits>;
  constexpr int kAhead = 2;  // blocks whose loads a warp has under way
  extern __shared__ __align__(16) unsigned char memory[];
  ListedBlocks& listed = *reinterpret_cast<ListedBlocks*>(memory);
  release_next();
  wait_for_previous();
  const KvView& kv = step.kv;
  const RouterWorkspace& work = step.workspace;
  const int groups = kv.sequences * kv.kv_heads;
  const int group_heads = step.q_heads / kv.kv_heads;
  const int total = listed.fill(work.block_counts, groups);
  const auto begin = static_cast<int>(std::int64_t{total} * blockIdx.x / gridDim.x);
  const auto end = static_cast<int>(std::int64_t{total} * (blockIdx.x + 1) / gridDim.x);
  if (begin >= end) return;

  const int warp = static_cast<int>(threadIdx.x) / kWarp;
  for (int group = listed.find(begin, groups); group < groups; ++group) {
    const int first_of_group = group > 0 ? listed.ends[group - 1] : 0;
    if (first_of_group >= end) break;
    const int from = max(begin, first_of_group);
    const int stop = min(end, listed.ends[group]);
    if (from >= stop) continue;
    const int sequence = group / kv.kv_heads;
    const int kv_head = group % kv.kv_heads;
    const std::int32_t* blocks = work.blocks + group * work.block_stride;
    const DeviceKept kept(kv.lengths[sequence], kBlockSize, step.window);
    PinnedGranules pinned;
    pinned.load(step.pinned, group, kept);
    for (int tile = 0; tile < group_heads; tile += kIntHeads) {
      const std::int64_t first_head =
          std::int64_t{sequence} * step.q_heads + kv_head * group_heads + tile;
      const int heads = min(kIntHeads, group_heads - tile);
      std::uint32_t b[Shape::kSteps][2];
      load_query_codes<kDim, kBits>(step, first_head, heads, b);
      const HeadFactors factors = head_factors<kBits>(step, first_head, heads);
      for (int item = from + warp * kAhead; item < stop; item += kTier1Warps * kAhead) {
        BlockCodes<kDim, kBits> codes[kAhead];
        float2 means[kAhead];
        int block[kAhead];
#pragma unroll
        for (int i = 0; i < kAhead; ++i) {
          block[i] = __ldg(blocks + min(item + i, stop - 1) - first_of_group);
          codes[i].load(step.sketches, device_block_index(kv, sequence, kv_head, block[i]));
          means[i] = load_means(step, first_head, heads, block[i]);
        }
#pragma unroll
        for (int i = 0; i < kAhead; ++i) {
          if (item + i >= stop) continue;
          score_rows<kDim, kBits>(step, codes[i], b, factors, first_head, heads, means[i],
                                  item + i - first_of_group, pinned.contains(block[i]));
        }
      }
    }
  }
}

}  // namespace sinkrouter::cuda
