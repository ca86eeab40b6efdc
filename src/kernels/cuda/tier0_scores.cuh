#pragma once

#include "kernels/cuda/mass_histogram.cuh"

// Tier 0's scores: moments of blocks meet a group's queries on the tensor cores.
namespace sinkrouter::cuda {

inline constexpr int kTier0Threads = 256;
inline constexpr int kTier0Warps = kTier0Threads / kWarp;
inline constexpr int kTileBlocks = 16;                        // rows of an mma
inline constexpr int kScoreUnit = kTier0Warps * kTileBlocks;  // blocks scored at once
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

// Codes of kTileBlocks blocks from `first_block` on, of a warp: lane (g, t) has channels of blocks
// g and g + 8.
template <int kDim>
struct TileCodes {
  static constexpr int kSteps = kDim / 16;
  std::uint32_t mean[2][kSteps];
  std::uint32_t deviation[2][kSteps];
  float scale[2];

  __device__ void load(const RouterStep& step, int sequence, int kv_head, int first_block,
                       int blocks) {
    const int g = threadIdx.x % kWarp / 4;
    const int t = threadIdx.x % 4;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int block = min(first_block + g + 8 * r, blocks - 1);
      const std::int64_t index = device_block_index(step.kv, sequence, kv_head, block);
      const std::uint8_t* codes = step.moments.codes + index * 2 * kDim;
      load_codes<kDim>(codes, t, mean[r]);
      load_codes<kDim>(codes + kDim, t, deviation[r]);
      scale[r] = step.scale * __ldg(step.moments.scales + index);
    }
  }
};

// Log-mass of `parts` (a power of 2 up to 16) neighbouring blocks from those of lanes that are 4
// apart, and of both halves of a tile; known to all of these lanes.
__device__ inline void join_blocks(float (&scores)[2], int parts) {
  const auto join = [](float a, float b) {
    const float largest = fmaxf(a, b);
    if (!(a < infinity()) || !(b < infinity())) return __int_as_float(0x7fc00000);
    if (largest == -infinity()) return largest;
    return largest + __logf(__expf(a - largest) + __expf(b - largest));
  };
  for (int apart = 1; apart < min(parts, 8); apart *= 2) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      scores[r] = join(scores[r], __shfl_xor_sync(kAllLanes, scores[r], 4 * apart));
    }
  }
  if (parts == 16) scores[0] = scores[1] = join(scores[0], scores[1]);
}

// What a group's scores are for.
struct ScoreTarget {
  int sequence;
  int kv_head;
  int group;
  int slots;
  DeviceKept kept;
  const PinnedGranules& pinned;
  const float* references;  // [group], in shared memory
};

// Bins of the granules of a tile, and what they add to histograms.
template <int kDim>
__device__ void score_tile(const RouterStep& step, const QueryFragments<kDim>& fragments,
                           const TileCodes<kDim>& codes, const ScoreTarget& target, int first_block,
                           int blocks) {
  constexpr int kSteps = kDim / 16;
  constexpr std::uint32_t kFactor = 0x7b807b80u;  // 2^120 twice
  const int lane = threadIdx.x % kWarp;
  const int g = lane / 4;
  const int t = lane % 4;
  const RouterWorkspace& work = step.workspace;
  const int parts = target.kept.granule / kBlockSize;
  const int group_index = target.sequence * step.kv.kv_heads + target.kv_head;
  const std::int64_t first_head =
      std::int64_t{target.sequence} * step.q_heads + target.kv_head * target.group;
  const std::int64_t first_slot = group_index * work.block_stride;
  const float log_rows = 3.46573590f;
  for (int tile = 0; tile * kTileHeads < target.group; ++tile) {
    float along[4] = {};
    float spread[4] = {};
#pragma unroll
    for (int s = 0; s < kSteps; ++s) {
      std::uint32_t a[4];
      spread_codes(codes.mean[0][s], a[0], a[2]);
      spread_codes(codes.mean[1][s], a[1], a[3]);
#pragma unroll
      for (int i = 0; i < 4; ++i) a[i] = multiply_bf16(a[i], kFactor);
      mma_bf16(along, a, fragments.plain[tile][s][lane]);
      spread_codes(codes.deviation[0][s], a[0], a[2]);
      spread_codes(codes.deviation[1][s], a[1], a[3]);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        a[i] = multiply_bf16(a[i], kFactor);
        a[i] = multiply_bf16(a[i], a[i]);
      }
      mma_bf16(spread, a, fragments.squared[tile][s][lane]);
    }
    const int head = tile * kTileHeads + t;
    const bool of_group = head < target.group;
    float scores[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int block = first_block + g + 8 * r;
      const float scale = codes.scale[r];
      const float logit = scale * (along[2 * r] + along[2 * r + 1]);
      scores[r] = log_rows + logit + 0.5f * scale * scale * (spread[2 * r] + spread[2 * r + 1]);
      if (work.mean_logits != nullptr && of_group && block < blocks) {
        work.mean_logits[(first_slot + block) * target.slots + head] = logit;
      }
    }
    if (parts > 1) join_blocks(scores, parts);
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int block = first_block + g + 8 * r;
      const int granule = block / parts;
      if (!of_group || block % parts != 0 || granule < target.kept.head_end ||
          granule >= target.kept.tail_begin) {
        continue;
      }
      std::uint32_t bin = kAlwaysRead;
      if (!target.pinned.contains(granule)) {
        bin = bin_of(scores[r], target.references[head]);
        atomicAdd(work.histograms + (first_head + head) * kMassBins + bin, 1u);
        if (!is_usable(scores[r])) atomicOr(work.doubtful + first_head + head, 1u);
      }
      work.bins[(first_slot + granule) * target.slots + head] = static_cast<std::uint16_t>(bin);
    }
  }
}

}  // namespace sinkrouter::cuda
