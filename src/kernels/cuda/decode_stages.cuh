#pragma once

#include <cuda_fp8.h>

#include <cstdint>

#include "kernels/cuda/decode_work.cuh"
#include "kernels/cuda/warp_mma.cuh"

// How rows lie in shared memory, and what of them the matrix instructions take.
namespace sinkrouter::cuda {

// How blocks of a kernel share a multiprocessor. A warp has kStages tiles of its own in shared
// memory: one in use, the others on their way.
template <int kWarpsOf, int kStagesOf, int kBlocksOf>
struct BlockShape {
  static constexpr int kWarps = kWarpsOf;
  static constexpr int kStages = kStagesOf;
  static constexpr int kBlocks = kBlocksOf;
  static constexpr int kThreads = 32 * kWarps;
};

// Rows lie kPitch bytes apart, an odd multiple of 16, so that eight of them meet no bank twice.
template <typename Stored, int kHeadDim, typename Shape>
struct StageLayout {
  static constexpr int kRowBytes = static_cast<int>(sizeof(Stored)) * kHeadDim;
  static constexpr int kChunks = kRowBytes / 16;
  static constexpr int kPitch = kChunks % 2 == 0 ? kRowBytes + 16 : kRowBytes;
  static constexpr int kMatrixBytes = kTileRows * kPitch;  // keys, then values
  static constexpr int kStageBytes = 2 * kMatrixBytes;
  static constexpr int kWarpBytes = Shape::kStages * kStageBytes;
  // After the stages of all warps a word for each: which of its rows are listed, one bit each.
  static constexpr int kMasks = Shape::kWarps * kWarpBytes;
  static constexpr int kBlockBytes = kMasks + Shape::kWarps * Shape::kStages * 4;
  // What the warps leave for the merge takes the place of the stages (for 16 q heads at most).
  static_assert(Shape::kWarps * 16 * (kHeadDim + 2) * 4 <= kMasks);
};

// Steps of 16 channels of a stage's 16 rows as the matrix instructions take them. The channels of
// a step may meet the columns of the matrices in any order, if keys and queries have the same one
// and what is mixed from the values is put back in place.
template <typename Stored>
struct Fragments {
  using Element = Stored;  // of the matrices
  static constexpr int kStepBytes = 32;

  // Where this lane's rows of a stage begin, in bytes.
  __device__ static int key_offset(int lane, int pitch) {
    return (lane / 16 * 8 + lane % 8) * pitch + lane / 8 % 2 * 16;
  }
  __device__ static int value_offset(int lane, int pitch) {
    return lane % 16 * pitch + lane / 16 * 16;
  }
  // to[0], to[1]: rows 0 to 7; to[2], to[3]: rows 8 to 15.
  __device__ static void load_keys(std::uint32_t (&to)[4], std::uint32_t at) {
    load_matrices<false>(to, at);
  }
  // to[0], to[1]: the first 8 columns; to[2], to[3]: the others.
  __device__ static void load_values(std::uint32_t (&to)[4], std::uint32_t at) {
    load_matrices<true>(to, at);
  }
  // Channel of the first of two neighbouring elements that register `part` of a query step holds.
  __device__ static int query_channel(int lane, int part) { return part / 2 * 8 + lane % 4 * 2; }
  // low, high: this lane's two columns of the first and of the last 8.
  __device__ static void put_mixed(float* step, int lane, float2 low, float2 high) {
    reinterpret_cast<float2*>(step)[lane % 4] = low;
    reinterpret_cast<float2*>(step)[4 + lane % 4] = high;
  }
};

// Two e4m3 elements as fp16, which holds each of them exactly.
__device__ inline std::uint32_t expanded(std::uint32_t pair) {
  const __half2_raw wide =
      __nv_cvt_fp8x2_to_halfraw2(static_cast<__nv_fp8x2_storage_t>(pair), __NV_E4M3);
  return std::uint32_t{wide.x} | std::uint32_t{wide.y} << 16;
}

template <>
struct Fragments<__nv_fp8_e4m3> {
  using Element = __half;
  static constexpr int kStepBytes = 16;

  __device__ static int key_offset(int lane, int pitch) { return lane % 16 * pitch; }
  __device__ static int value_offset(int lane, int pitch) { return lane % 16 * pitch; }
  // A lane gets channels 4 * (lane % 4) and the three after.
  __device__ static void load_keys(std::uint32_t (&to)[4], std::uint32_t at) {
    std::uint32_t rows[2];
    load_matrices<false>(rows, at);
    to[0] = expanded(rows[0] & 0xffffu);
    to[1] = expanded(rows[0] >> 16);
    to[2] = expanded(rows[1] & 0xffffu);
    to[3] = expanded(rows[1] >> 16);
  }
  // A lane gets two rows of channels 2 * (lane / 4) and the next: even channels are the first 8
  // columns, odd ones the others.
  __device__ static void load_values(std::uint32_t (&to)[4], std::uint32_t at) {
    std::uint32_t rows[2];
    load_matrices<true>(rows, at);
    to[0] = expanded(__byte_perm(rows[0], 0, 0x4420));
    to[1] = expanded(__byte_perm(rows[1], 0, 0x4420));
    to[2] = expanded(__byte_perm(rows[0], 0, 0x4431));
    to[3] = expanded(__byte_perm(rows[1], 0, 0x4431));
  }
  __device__ static int query_channel(int lane, int part) { return lane % 4 * 4 + part / 2 * 2; }
  __device__ static void put_mixed(float* step, int lane, float2 low, float2 high) {
    reinterpret_cast<float4*>(step)[lane % 4] = float4{low.x, high.x, low.y, high.y};
  }
};

}  // namespace sinkrouter::cuda
