#pragma once

#include <cstdint>

#include "kernels/cuda/decode_merge.cuh"
#include "kernels/cuda/decode_rows.cuh"
#include "kernels/cuda/decode_stages.cuh"
#include "kernels/cuda/decode_work.cuh"
#include "kernels/cuda/warp_mma.cuh"

namespace sinkrouter::cuda {

constexpr float kLog2E = 1.44269504088896341f;

__device__ inline float query_element(const DecodeParams& params, std::int64_t index) {
  if (params.query_dtype == DType::kF32) return static_cast<const float*>(params.queries)[index];
  if (params.query_dtype == DType::kBF16) {
    return __bfloat162float(static_cast<const __nv_bfloat16*>(params.queries)[index]);
  }
  return __half2float(static_cast<const __half*>(params.queries)[index]);
}

// One warp's attention of up to 16 q heads, the rows of the matrices, over the rows it is given.
// A lane holds of every 8 columns two neighbouring ones, of rows lane / 4 and lane / 4 + 8.
template <typename Stored, int kHeadDim, typename Shape>
class WarpAttention {
  using Layout = StageLayout<Stored, kHeadDim, Shape>;
  using Fragment = Fragments<Stored>;
  using Element = typename Fragment::Element;
  static constexpr int kSteps = kHeadDim / 16;   // of 16 channels
  static constexpr int kColumns = kHeadDim / 8;  // of 8 channels

 public:
  // The group's queries; rows from `group` on are zero.
  __device__ void load_queries(const DecodeParams& params, int list, int group) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
#pragma unroll
      for (int part = 0; part < 4; ++part) {
        const int row = lane / 4 + part % 2 * 8;
        const int channel = step * 16 + Fragment::query_channel(lane, part);
        const std::int64_t at = (std::int64_t{list} * group + row) * kHeadDim + channel;
        queries_[step][part] =
            row < group ? packed<Element>(query_element(params, at), query_element(params, at + 1))
                        : 0;
      }
    }
  }

  // Rows of `stage` that `listed` names, one bit each; the others hold zeros.
  __device__ void add(std::uint32_t stage, unsigned listed, float scale_log2, bool with_values) {
    float logits[2][4] = {};
    multiply_keys(stage, logits);
    const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int row = half * 8 + lane % 4 * 2 + i % 2;
        logits[half][i] = (listed >> row & 1u) != 0 ? logits[half][i] * scale_log2 : kMinusInfinity;
      }
    }
    float tops[2];
#pragma unroll
    for (int upper = 0; upper < 2; ++upper) {
      tops[upper] = quad_max(fmaxf(fmaxf(logits[0][2 * upper], logits[0][2 * upper + 1]),
                                   fmaxf(logits[1][2 * upper], logits[1][2 * upper + 1])));
    }
    raise(tops);
    std::uint32_t weights[4];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
#pragma unroll
      for (int upper = 0; upper < 2; ++upper) {
        const float base = largest_[upper] == kMinusInfinity ? 0.0f : largest_[upper];
        const float low = exp2f(logits[half][2 * upper] - base);
        const float high = exp2f(logits[half][2 * upper + 1] - base);
        sums_[upper] += low + high;
        weights[half * 2 + upper] = packed<Element>(low, high);
      }
    }
    if (with_values) multiply_values(stage + Layout::kMatrixBytes, weights);
  }

  // Leaves the part of this warp for its block, in rows [warps, group].
  __device__ void leave(const Parts& parts, int group) const {
    const int warp = static_cast<int>(threadIdx.x) / 32;
    const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
    for (int upper = 0; upper < 2; ++upper) {
      const float sum = quad_sum(sums_[upper]);
      const int row = lane / 4 + upper * 8;
      if (row >= group) continue;
      const int at = warp * group + row;
      if (lane % 4 == 0) {
        parts.largest[at] = largest_[upper];
        parts.sums[at] = sum;
      }
#pragma unroll
      for (int step = 0; step < kSteps; ++step) {
        const float* low = mixed_[2 * step] + 2 * upper;
        const float* high = mixed_[2 * step + 1] + 2 * upper;
        Fragment::put_mixed(parts.mixed + at * kHeadDim + step * 16, lane, {low[0], low[1]},
                            {high[0], high[1]});
      }
    }
  }

 private:
  // logits[half][...] of keys 8 * half ... of the stage.
  __device__ void multiply_keys(std::uint32_t stage, float (&logits)[2][4]) const {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const std::uint32_t rows = stage + Fragment::key_offset(lane, Layout::kPitch);
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      std::uint32_t keys[4];
      Fragment::load_keys(keys, rows + step * Fragment::kStepBytes);
      multiply_add<Element>(logits[0], queries_[step], keys[0], keys[1]);
      multiply_add<Element>(logits[1], queries_[step], keys[2], keys[3]);
    }
  }

  __device__ void multiply_values(std::uint32_t values, const std::uint32_t (&weights)[4]) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const std::uint32_t rows = values + Fragment::value_offset(lane, Layout::kPitch);
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      std::uint32_t columns[4];
      Fragment::load_values(columns, rows + step * Fragment::kStepBytes);
      multiply_add<Element>(mixed_[2 * step], weights, columns[0], columns[1]);
      multiply_add<Element>(mixed_[2 * step + 1], weights, columns[2], columns[3]);
    }
  }

  // Takes up new largest logits and scales down what was summed under smaller ones.
  __device__ void raise(const float (&tops)[2]) {
    if (!__any_sync(kAllLanes, tops[0] > largest_[0] || tops[1] > largest_[1])) return;
#pragma unroll
    for (int upper = 0; upper < 2; ++upper) {
      const float top = fmaxf(largest_[upper], tops[upper]);
      const float factor = part_weight(largest_[upper], top);
      largest_[upper] = top;
      sums_[upper] *= factor;
#pragma unroll
      for (int column = 0; column < kColumns; ++column) {
        mixed_[column][2 * upper] *= factor;
        mixed_[column][2 * upper + 1] *= factor;
      }
    }
  }

  std::uint32_t queries_[kSteps][4];
  float mixed_[kColumns][4] = {};
  float largest_[2] = {kMinusInfinity, kMinusInfinity};
  float sums_[2] = {};
};

// An empty list: output 0 and lse -inf. The blocks share them.
template <int kHeadDim>
__device__ void store_empty_lists(const DecodeParams& params, int lists, int group) {
  const int thread = static_cast<int>(threadIdx.x);
  for (int list = static_cast<int>(blockIdx.x); list < lists; list += static_cast<int>(gridDim.x)) {
    if (rows_of_list(params.lists, list) > 0) continue;
    const ListResult result{params, list, group, 1.0f};
    if (thread < group) result.put_sum(thread, kMinusInfinity, 0.0f);
    if (params.output == nullptr) continue;
    for (int at = thread * 4; at < group * kHeadDim; at += static_cast<int>(blockDim.x) * 4) {
      result.template put_mixed<kHeadDim>(at / kHeadDim, at % kHeadDim, float4{0, 0, 0, 0}, 0.0f);
    }
  }
}

// What the grid will look up first comes to the L2 cache while the kernel before may still run.
__device__ inline void prefetch_page_table(const KvView& kv) {
  constexpr int kLine = 128;
  const std::int64_t bytes = kv.page_table_stride * kv.sequences * 4;
  const std::int64_t at = (std::int64_t{threadIdx.x} * gridDim.x + blockIdx.x) * kLine;
  if (at < bytes) prefetch_l2(reinterpret_cast<const char*>(kv.page_table) + at);
}

template <typename Stored, int kHeadDim, typename Shape>
__global__ void __launch_bounds__(Shape::kThreads, Shape::kBlocks)
    decode_attention_kernel(const __grid_constant__ DecodeParams params) {
  using Layout = StageLayout<Stored, kHeadDim, Shape>;
  constexpr int kWarps = Shape::kWarps;
  constexpr int kStages = Shape::kStages;
  extern __shared__ __align__(16) unsigned char shared[];
  const int group = params.q_heads / params.kv.kv_heads;
  const int lists = params.kv.sequences * params.kv.kv_heads;
  const bool with_values = params.output != nullptr;
  const Workspace workspace(params.workspace, static_cast<int>(gridDim.x), group, kHeadDim, lists);
  const Parts warp_parts(reinterpret_cast<float*>(shared), kWarps * group, kHeadDim);
  const int block = static_cast<int>(blockIdx.x);
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const std::uint32_t stages = shared_address(shared) + warp * Layout::kWarpBytes;
  auto* const masks = reinterpret_cast<std::uint32_t*>(shared + Layout::kMasks) + warp * kStages;

  prefetch_page_table(params.kv);
  wait_for_previous_kernel();
  const BlockWork work = find_work<kWarps>(params.lists, lists);
  int list = work.list;
  std::int64_t list_begin = work.list_begin;
  for (std::int64_t tile = work.first; tile < work.last; ++list) {
    const int list_tiles = tiles_of_list(params.lists, list);
    const std::int64_t list_end = list_begin + list_tiles;
    if (list_tiles == 0) continue;
    const int first = static_cast<int>(tile - list_begin) + warp;
    const int last = static_cast<int>(min(std::int64_t{work.last}, list_end) - list_begin);

    WarpRows<Stored, kHeadDim, Shape> rows(params, list, first, last, stages, masks);
#pragma unroll 1
    for (int ahead = 0; ahead < kStages - 1; ++ahead) {
      rows.start_copy(first + ahead * kWarps, ahead);
    }
    const int head = list % params.kv.kv_heads;
    const float* const key_scales = params.kv.key_scales;
    const float* const value_scales = params.kv.value_scales;
    const float key_scale = key_scales == nullptr ? 1.0f : key_scales[head];
    const float value_scale = value_scales == nullptr ? 1.0f : value_scales[head];
    WarpAttention<Stored, kHeadDim, Shape> attention;
    attention.load_queries(params, list, group);
    int stage = 0;
    for (int at = first; at < last; at += kWarps) {
      wait_copies<kStages - 2>();
      __syncwarp();  // all lanes' copies have arrived, and no lane reads the stage filled next
      const int next = stage == 0 ? kStages - 1 : stage - 1;
      rows.start_copy(at + (kStages - 1) * kWarps, next);
      const unsigned listed = masks[stage];
      if (listed != 0) {
        attention.add(stages + stage * Layout::kStageBytes, listed,
                      params.scale * kLog2E * key_scale, with_values);
      }
      stage = stage == kStages - 1 ? 0 : stage + 1;
    }
    wait_copies<0>();
    __syncthreads();  // before the stages hold what the warps leave
    attention.leave(warp_parts, group);
    __syncthreads();

    const int first_block = work.block_of(list_begin);
    const int last_block = work.block_of(list_end - 1);
    const ListResult result{params, list, group, value_scale};
    const PartRows of_warps{0, group, group, kWarps};
    if (first_block == last_block) {
      merge_parts<kHeadDim, kWarps, true>(warp_parts, of_warps, group, with_values, result);
    } else {
      const std::int64_t at = std::int64_t{part_slot(block, block == first_block)} * group;
      merge_parts<kHeadDim, kWarps, true>(warp_parts, of_warps, group, with_values,
                                          PartResult{workspace.parts, at});
      merge_blocks<kHeadDim, kWarps>(workspace, first_block, last_block, result);
    }
    __syncthreads();  // before the next list's rows come to `shared`
    tile = list_begin + last;
    list_begin = list_end;
  }
  store_empty_lists<kHeadDim>(params, lists, group);
}

}  // namespace sinkrouter::cuda
