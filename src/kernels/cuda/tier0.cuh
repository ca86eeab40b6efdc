#pragma once

#include "kernels/cuda/router_device.cuh"

// Tier 0: block scores from moments, the kept set's log-sum-exp, queries as sketches meet them.
namespace sinkrouter::cuda {

inline constexpr int kTier0Threads = 256;
inline constexpr int kTier0Warps = kTier0Threads / kWarp;
inline constexpr int kTileBlocks = 16;                        // rows of an mma
inline constexpr int kScoreUnit = kTier0Warps * kTileBlocks;  // blocks that a CTA scores at once
inline constexpr int kKeptUnit = kTier0Warps;                 // blocks, one a warp
inline constexpr int kTileHeads = 4;                          // q heads of an mma, two columns each

// Four e4m3 codes as bf16, times 2^-120: the bits of a code, moved to where bf16 has them.
__device__ inline void spread_codes(std::uint32_t codes, std::uint32_t& low, std::uint32_t& high) {
  const std::uint32_t a = __byte_perm(codes, 0, 0x1404);
  const std::uint32_t b = __byte_perm(codes, 0, 0x3424);
  low = (a & 0x80008000u) | ((a >> 4) & 0x07f007f0u);
  high = (b & 0x80008000u) | ((b >> 4) & 0x07f007f0u);
}

__device__ inline std::uint32_t multiply_bf16(std::uint32_t a, std::uint32_t b) {
  std::uint32_t result;
  asm("{ .reg .b32 zero; mov.b32 zero, 0x80008000; fma.rn.bf16x2 %0, %1, %2, zero; }"
      : "=r"(result)
      : "r"(a), "r"(b));
  return result;
}

__device__ inline void mma_bf16(float (&c)[4], const std::uint32_t (&a)[4], uint2 b) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b.x), "r"(b.y));
}

// Channels that lane quarter t multiplies in k-step s: four from this one on. Whole 16-byte loads
// first, then what is left of a row in smaller ones.
template <int kDim>
__device__ constexpr int first_channel(int s, int t) {
  constexpr int kWide = kDim / 64;
  constexpr int kRest = kDim % 64;
  return s < 4 * kWide ? 64 * (s / 4) + 16 * t + 4 * (s % 4)
                       : 64 * kWide + kRest / 4 * t + 4 * (s - 4 * kWide);
}

// A row's codes of this lane quarter, one word a k-step.
template <int kDim>
__device__ void load_codes(const std::uint8_t* row, int t, std::uint32_t (&words)[kDim / 16]) {
  constexpr int kWide = kDim / 64;
  constexpr int kRest = kDim % 64;
#pragma unroll
  for (int p = 0; p < kWide; ++p) {
    const uint4 piece = __ldg(reinterpret_cast<const uint4*>(row + 64 * p + 16 * t));
    words[4 * p] = piece.x;
    words[4 * p + 1] = piece.y;
    words[4 * p + 2] = piece.z;
    words[4 * p + 3] = piece.w;
  }
  if constexpr (kRest == 32) {
    const uint2 piece = __ldg(reinterpret_cast<const uint2*>(row + 64 * kWide + 8 * t));
    words[4 * kWide] = piece.x;
    words[4 * kWide + 1] = piece.y;
  } else if constexpr (kRest == 16) {
    words[4 * kWide] = __ldg(reinterpret_cast<const std::uint32_t*>(row + 64 * kWide + 4 * t));
  }
}

__device__ inline std::uint32_t pack_bf16(float low, float high) {
  return std::uint32_t{__bfloat16_as_ushort(__float2bfloat16_rn(low))} |
         std::uint32_t{__bfloat16_as_ushort(__float2bfloat16_rn(high))} << 16;
}

// x as two bf16: the first, or what it leaves.
__device__ inline float bf16_part(float x, int part) {
  const float high = __bfloat162float(__float2bfloat16_rn(x));
  return part == 0 ? high : x - high;
}

// B fragments of a group's queries and of their squares: column 2 h + part for q head h of a tile.
template <int kDim>
struct QueryFragments {
  static constexpr int kSteps = kDim / 16;
  uint2 plain[kMostGroup / kTileHeads][kSteps][kWarp];
  uint2 squared[kMostGroup / kTileHeads][kSteps][kWarp];

  __device__ void fill(const float* queries, int group) {
    const int tiles = (group + kTileHeads - 1) / kTileHeads;
    for (int i = threadIdx.x; i < tiles * kSteps * kWarp; i += kTier0Threads) {
      const int lane = i % kWarp;
      const int s = i / kWarp % kSteps;
      const int tile = i / kWarp / kSteps;
      const int head = tile * kTileHeads + lane / 4 / 2;
      const int part = lane / 4 % 2;
      const int channel = first_channel<kDim>(s, lane % 4);
      float x[4] = {};
      float y[4] = {};
      for (int c = 0; c < 4 && head < group; ++c) {
        const float q = queries[head * kDim + channel + c];
        x[c] = bf16_part(q, part);
        y[c] = bf16_part(q * q, part);
      }
      plain[tile][s][lane] = {pack_bf16(x[0], x[1]), pack_bf16(x[2], x[3])};
      squared[tile][s][lane] = {pack_bf16(y[0], y[1]), pack_bf16(y[2], y[3])};
    }
  }
};

// What the CTA's units are: sequence after sequence; of one, KV head after KV head; of one, the
// kept set's, one of queries, those of scores.
struct Tier0Units {
  std::int32_t ends[kMostSequences];

  __device__ static int kept_of(const RouterStep& step, const DeviceKept& kept) {
    const int slots = kept.head_end + (step.pinned.counts != nullptr ? step.pinned.capacity : 0) +
                      kept.granules - kept.tail_begin;
    return min((slots * (kept.granule / kBlockSize) + kKeptUnit - 1) / kKeptUnit, step.kept_units);
  }
  __device__ static int scores_of(int length) {
    return (length / kBlockSize + kScoreUnit - 1) / kScoreUnit;
  }
  __device__ static int of_group(const RouterStep& step, int sequence) {
    const int length = step.kv.lengths[sequence];
    const DeviceKept kept(length, kept_granule(step), step.window);
    return kept_of(step, kept) + 1 + scores_of(length);
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

// Scores of kTileBlocks blocks from `first_block` on, of a warp.
template <int kDim>
__device__ void score_tile(const RouterStep& step, const QueryFragments<kDim>& fragments,
                           int sequence, int kv_head, int first_block, int blocks) {
  constexpr int kSteps = kDim / 16;
  constexpr std::uint32_t kFactor = 0x7b807b80u;  // 2^120 twice
  const int lane = threadIdx.x % kWarp;
  const int g = lane / 4;
  const int t = lane % 4;
  std::uint32_t mean[2][kSteps];
  std::uint32_t deviation[2][kSteps];
  float block_scale[2];
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int block = min(first_block + g + 8 * r, blocks - 1);
    const std::int64_t index = device_block_index(step.kv, sequence, kv_head, block);
    const std::uint8_t* codes = step.moments.codes + index * 2 * kDim;
    load_codes<kDim>(codes, t, mean[r]);
    load_codes<kDim>(codes + kDim, t, deviation[r]);
    block_scale[r] = step.scale * __ldg(step.moments.scales + index);
  }
  const int group = step.q_heads / step.kv.kv_heads;
  const std::int64_t first_head = std::int64_t{sequence} * step.q_heads + kv_head * group;
  const float log_rows = 3.46573590f;
  for (int tile = 0; tile * kTileHeads < group; ++tile) {
    float along[4] = {};
    float spread[4] = {};
#pragma unroll
    for (int s = 0; s < kSteps; ++s) {
      std::uint32_t a[4];
      spread_codes(mean[0][s], a[0], a[2]);
      spread_codes(mean[1][s], a[1], a[3]);
#pragma unroll
      for (int i = 0; i < 4; ++i) a[i] = multiply_bf16(a[i], kFactor);
      mma_bf16(along, a, fragments.plain[tile][s][lane]);
      spread_codes(deviation[0][s], a[0], a[2]);
      spread_codes(deviation[1][s], a[1], a[3]);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        a[i] = multiply_bf16(a[i], kFactor);
        a[i] = multiply_bf16(a[i], a[i]);
      }
      mma_bf16(spread, a, fragments.squared[tile][s][lane]);
    }
    const int head = tile * kTileHeads + t;
    if (head >= group) continue;
    const std::int64_t row = (first_head + head) * step.workspace.block_stride;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int block = first_block + g + 8 * r;
      if (block >= blocks) continue;
      const float logit = block_scale[r] * (along[2 * r] + along[2 * r + 1]);
      const float hidden =
          0.5f * block_scale[r] * block_scale[r] * (spread[2 * r] + spread[2 * r + 1]);
      step.workspace.scores[row + block] = log_rows + logit + hidden;
      if (step.workspace.mean_logits != nullptr) step.workspace.mean_logits[row + block] = logit;
    }
  }
}

template <typename T>
__device__ inline float element_of(const T& x) {
  return static_cast<float>(x);
}

// Logits of one block of kept rows by a warp, and their log-sum-exp in two numbers for each q head.
// Lane l of a row's half-warp holds channels l, l + 16 ...
template <int kDim, typename T>
__device__ void attend_kept_block(const RouterStep& step, int sequence, int kv_head, int block,
                                  int rows, float2 (&parts)[kMostGroup]) {
  constexpr int kPairs = kDim / 16 / 2;  // of channels a lane
  const int lane = threadIdx.x % kWarp;
  const int half = lane / 16;
  const int within = lane % 16;
  const int group = step.q_heads / step.kv.kv_heads;
  const float* queries =
      step.queries + (std::int64_t{sequence} * step.q_heads + kv_head * group) * kDim;
  const T* keys = static_cast<const T*>(step.kv.keys);
  for (int tile = 0; tile * kTileHeads < group; ++tile) {
    float q[kTileHeads][kDim / 16];
#pragma unroll
    for (int h = 0; h < kTileHeads; ++h) {
      const int head = min(tile * kTileHeads + h, group - 1);
#pragma unroll
      for (int c = 0; c < kDim / 16; ++c) q[h][c] = queries[head * kDim + c * 16 + within];
    }
    float largest[kTileHeads];
    float sum[kTileHeads];
#pragma unroll
    for (int h = 0; h < kTileHeads; ++h) {
      largest[h] = -infinity();
      sum[h] = 0;
    }
    for (int pair = 0; pair < rows; pair += 2) {
      const int row = min(pair + half, rows - 1);
      const T* key = keys + device_row_offset(step.kv, sequence, kv_head, block * kBlockSize + row);
      float k[kDim / 16];
#pragma unroll
      for (int c = 0; c < kDim / 16; ++c) k[c] = element_of(key[c * 16 + within]);
#pragma unroll
      for (int h = 0; h < kTileHeads; ++h) {
        float dot = 0;
#pragma unroll
        for (int c = 0; c < kDim / 16; ++c) dot = fmaf(q[h][c], k[c], dot);
#pragma unroll
        for (int offset = 8; offset > 0; offset /= 2) {
          dot += __shfl_xor_sync(kAllLanes, dot, offset);
        }
        if (pair + half < rows) {
          const float logit = dot * step.scale;
          const float next = fmaxf(largest[h], logit);
          const float faded = next == -infinity() ? 0.0f : __expf(largest[h] - next);
          const float added = next == -infinity() ? 0.0f : __expf(logit - next);
          // A logit that is not a number, or infinite, makes the sum not a number for good.
          sum[h] = sum[h] * faded + (logit < infinity() ? added : __int_as_float(0x7fc00000));
          largest[h] = next;
        }
      }
    }
#pragma unroll
    for (int h = 0; h < kTileHeads; ++h) {
      const float other = __shfl_xor_sync(kAllLanes, largest[h], 16);
      const float both = fmaxf(largest[h], other);
      float scaled = largest[h] == -infinity() ? 0.0f : sum[h] * __expf(largest[h] - both);
      if (sum[h] != sum[h]) scaled = sum[h];
      scaled += __shfl_xor_sync(kAllLanes, scaled, 16);
      if (tile * kTileHeads + h < group) parts[tile * kTileHeads + h] = {both, scaled};
    }
  }
  static_assert(kPairs >= 1);
}

// (largest, sum) of two sets of logits.
__device__ inline float2 join_parts(float2 a, float2 b) {
  const float largest = fmaxf(a.x, b.x);
  if (largest == -infinity()) return {largest, a.y + b.y};
  return {largest, a.y * __expf(a.x - largest) + b.y * __expf(b.x - largest)};
}

template <int kDim, typename T>
__device__ void attend_kept_unit(const RouterStep& step, const DeviceKept& kept,
                                 const PinnedGranules& pinned, int sequence, int kv_head, int unit,
                                 float2 (*shared)[kMostGroup]) {
  const int warp = threadIdx.x / kWarp;
  const int lane = threadIdx.x % kWarp;
  const int group = step.q_heads / step.kv.kv_heads;
  const int parts_of_granule = kept.granule / kBlockSize;
  const int slots = kept.head_end + pinned.count + kept.granules - kept.tail_begin;
  const int units = Tier0Units::kept_of(step, kept);
  float2 sums[kMostGroup];
#pragma unroll
  for (int h = 0; h < kMostGroup; ++h) sums[h] = {-infinity(), 0.0f};
  for (int i = unit * kKeptUnit + warp; i < slots * parts_of_granule; i += units * kKeptUnit) {
    int slot = i / parts_of_granule;
    int granule = slot;
    if (slot >= kept.head_end) {
      slot -= kept.head_end;
      granule = slot < pinned.count ? pinned.granules[slot] : kept.tail_begin + slot - pinned.count;
    }
    const int block = granule * parts_of_granule + i % parts_of_granule;
    const int rows = min(kBlockSize, kept.length - block * kBlockSize);
    if (rows <= 0) continue;
    float2 parts[kMostGroup];
    attend_kept_block<kDim, T>(step, sequence, kv_head, block, rows, parts);
#pragma unroll
    for (int h = 0; h < kMostGroup; ++h) {
      if (h < group) sums[h] = join_parts(sums[h], parts[h]);
    }
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

// Rotates and quantises a group's queries; `rotated` [kMostGroup, kDim] in shared memory.
template <int kDim>
__device__ void sketch_queries_of(const RouterStep& step, int sequence, int kv_head,
                                  float (*rotated)[kDim]) {
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
        const int channel = lane + c * kWarp;
        q[h][c] = channel < kDim ? queries[head * kDim + channel] : 0.0f;
      }
    }
#pragma unroll 4
    for (int channel = warp; channel < kDim; channel += kTier0Warps) {
      const float* factors = step.sketches.rotation + channel * kDim;
      float r[4];
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        r[c] = lane + c * kWarp < kDim ? __ldg(factors + lane + c * kWarp) : 0.0f;
      }
#pragma unroll
      for (int h = 0; h < kTileHeads; ++h) {
        float dot = 0;
#pragma unroll
        for (int c = 0; c < 4; ++c) dot = fmaf(r[c], q[h][c], dot);
        dot = warp_sum(dot);
        if (lane == 0 && tile * kTileHeads + h < group) {
          rotated[tile * kTileHeads + h][channel] = dot;
        }
      }
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
  release_next();
  wait_for_previous();
  const KvView& kv = step.kv;
  const int group = step.q_heads / kv.kv_heads;
  if (threadIdx.x < kWarp) units.fill(step);
  __syncthreads();
  const int total = kv.sequences > 0 ? units.ends[kv.sequences - 1] : 0;
  std::int64_t filled = -1;  // the group whose fragments are in shared memory
  for (int unit = blockIdx.x; unit < total; unit += gridDim.x) {
    const int sequence = units.find(unit, kv.sequences);
    const int begin = sequence > 0 ? units.ends[sequence - 1] : 0;
    const int length = kv.lengths[sequence];
    const DeviceKept kept(length, kept_granule(step), step.window);
    const int kept_count = Tier0Units::kept_of(step, kept);
    const int of_kinds = (kept_count + 1) * kv.kv_heads;
    const int within = unit - begin;
    if (within < kept_count * kv.kv_heads) {
      const int kv_head = within / kept_count;
      __syncthreads();
      if (threadIdx.x == 0) pinned.load(step.pinned, sequence * kv.kv_heads + kv_head, kept);
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
      if (filled != wanted) {
        __syncthreads();
        shared.fragments.fill(step.queries + wanted * group * kDim, group);
        __syncthreads();
        filled = wanted;
      }
      const int first = span * kScoreUnit + threadIdx.x / kWarp * kTileBlocks;
      const int blocks = length / kBlockSize;
      if (first < blocks) {
        score_tile<kDim>(step, shared.fragments, sequence, kv_head, first, blocks);
      }
    }
  }
}

}  // namespace sinkrouter::cuda
