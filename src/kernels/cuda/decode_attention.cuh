#pragma once

#include <cstdint>

#include "kernels/cuda/decode_merge.cuh"
#include "kernels/cuda/decode_rows.cuh"
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
template <typename Element, int kHeadDim>
class WarpAttention {
  using Layout = StageLayout<kHeadDim>;
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
        const int channel = step * 16 + part / 2 * 8 + lane % 4 * 2;
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

  // Leaves the part of this warp for its block: mixed [warps, group, head_dim], then largest and
  // sums [warps, group] each.
  __device__ void leave(float* shared, int group) {
    const int warp = static_cast<int>(threadIdx.x) / 32;
    const int lane = static_cast<int>(threadIdx.x) % 32;
    float* tops = shared + kWarps * group * kHeadDim;
#pragma unroll
    for (int upper = 0; upper < 2; ++upper) {
      const float sum = quad_sum(sums_[upper]);
      const int row = lane / 4 + upper * 8;
      if (row >= group) continue;
      const int at = warp * group + row;
      if (lane % 4 == 0) {
        tops[at] = largest_[upper];
        tops[kWarps * group + at] = sum;
      }
#pragma unroll
      for (int column = 0; column < kColumns; ++column) {
        const float2 pair{mixed_[column][2 * upper], mixed_[column][2 * upper + 1]};
        reinterpret_cast<float2*>(shared + at * kHeadDim)[column * 4 + lane % 4] = pair;
      }
    }
  }

 private:
  // logits[half][...] of keys 8 * half ... of the stage.
  __device__ void multiply_keys(std::uint32_t stage, float (&logits)[2][4]) const {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const std::uint32_t row =
        stage + (lane / 16 * 8 + lane % 8) * Layout::kPitch + lane / 8 % 2 * 16;
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      std::uint32_t keys[4];
      load_matrices<false>(keys, row + step * 32);
      multiply_add<Element>(logits[0], queries_[step], keys[0], keys[1]);
      multiply_add<Element>(logits[1], queries_[step], keys[2], keys[3]);
    }
  }

  __device__ void multiply_values(std::uint32_t values, const std::uint32_t (&weights)[4]) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const std::uint32_t row =
        values + (lane / 8 % 2 * 8 + lane % 8) * Layout::kPitch + lane / 16 * 16;
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      std::uint32_t channels[4];
      load_matrices<true>(channels, row + step * 32);
      multiply_add<Element>(mixed_[2 * step], weights, channels[0], channels[1]);
      multiply_add<Element>(mixed_[2 * step + 1], weights, channels[2], channels[3]);
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

// One row of what the block's warps left (WarpAttention::leave), over all of them.
struct BlockRow {
  float weights[kWarps];
  float largest = kMinusInfinity;
  float sum = 0;

  __device__ BlockRow(const float* tops, int group, int row) {
#pragma unroll
    for (int warp = 0; warp < kWarps; ++warp) largest = fmaxf(largest, tops[warp * group + row]);
#pragma unroll
    for (int warp = 0; warp < kWarps; ++warp) {
      weights[warp] = part_weight(tops[warp * group + row], largest);
      sum += weights[warp] * tops[(kWarps + warp) * group + row];
    }
  }
};

// Stores the attention of a list that no other block has a part of.
template <int kHeadDim>
__device__ void store_whole(const DecodeParams& params, const float* shared, int list, int group) {
  const float* tops = shared + kWarps * group * kHeadDim;
  const int thread = static_cast<int>(threadIdx.x);
  const std::int64_t out_row = std::int64_t{list} * group;
  if (thread < group) {
    const BlockRow merged(tops, group, thread);
    store_lse(params, out_row + thread, merged.largest, merged.sum);
  }
  if (params.output == nullptr) return;
  for (int at = thread; at < group * kHeadDim; at += kThreads) {
    const BlockRow merged(tops, group, at / kHeadDim);
    float value = 0;
#pragma unroll
    for (int warp = 0; warp < kWarps; ++warp) {
      value += merged.weights[warp] * shared[warp * group * kHeadDim + at];
    }
    const float inverse = merged.sum == 0.0f ? 0.0f : 1.0f / merged.sum;
    store(params.output, params.output_dtype, out_row * kHeadDim + at, value * inverse);
  }
}

// Stores this block's part of a list in the workspace, from `part` on.
template <int kHeadDim>
__device__ void store_part(const DecodeParams& params, const Workspace& workspace,
                           const float* shared, std::int64_t part, int group) {
  const float* tops = shared + kWarps * group * kHeadDim;
  const int thread = static_cast<int>(threadIdx.x);
  if (thread < group) {
    const BlockRow merged(tops, group, thread);
    workspace.largest[part + thread] = merged.largest;
    workspace.sums[part + thread] = merged.sum;
  }
  if (params.output == nullptr) return;
  for (int at = thread; at < group * kHeadDim; at += kThreads) {
    const BlockRow merged(tops, group, at / kHeadDim);
    float value = 0;
#pragma unroll
    for (int warp = 0; warp < kWarps; ++warp) {
      value += merged.weights[warp] * shared[warp * group * kHeadDim + at];
    }
    workspace.mixed[part * kHeadDim + at] = value;
  }
}

// An empty list: output 0 and lse -inf. The blocks share them.
template <int kHeadDim>
__device__ void store_empty_lists(const DecodeParams& params, int lists, int group) {
  for (int list = static_cast<int>(blockIdx.x); list < lists; list += static_cast<int>(gridDim.x)) {
    if (rows_of_list(params.lists, list) > 0) continue;
    const int thread = static_cast<int>(threadIdx.x);
    const std::int64_t row = std::int64_t{list} * group;
    if (thread < group) store_lse(params, row + thread, kMinusInfinity, 0.0f);
    if (params.output == nullptr) continue;
    for (int at = thread; at < group * kHeadDim; at += kThreads) {
      store(params.output, params.output_dtype, row * kHeadDim + at, 0.0f);
    }
  }
}

template <typename Element, int kHeadDim>
__global__ void __launch_bounds__(kThreads, 2)
    decode_attention_kernel(const __grid_constant__ DecodeParams params) {
  using Layout = StageLayout<kHeadDim>;
  extern __shared__ __align__(16) unsigned char shared[];
  auto* const shared_floats = reinterpret_cast<float*>(shared);
  const int group = params.q_heads / params.kv.kv_heads;
  const int lists = params.kv.sequences * params.kv.kv_heads;
  const bool with_values = params.output != nullptr;
  const float scale_log2 = params.scale * kLog2E;
  const Workspace workspace(params.workspace, static_cast<int>(gridDim.x), group, kHeadDim);
  const int block = static_cast<int>(blockIdx.x);

  store_empty_lists<kHeadDim>(params, lists, group);
  const BlockWork work = find_work(params.lists, lists);
  int list = work.list;
  std::int64_t list_begin = work.list_begin;
  for (std::int64_t tile = work.first; tile < work.last; ++list) {
    const int list_tiles = tiles_of_list(params.lists, list);
    const std::int64_t list_end = list_begin + list_tiles;
    if (list_tiles == 0) continue;
    const int first = static_cast<int>(tile - list_begin);
    const int last = static_cast<int>(min(std::int64_t{work.last}, list_end) - list_begin);

    const std::uint32_t stages = shared_address(shared) + threadIdx.x / 32 * Layout::kWarpBytes;
    WarpRows<kHeadDim> rows(params, list, first, last, stages);
#pragma unroll
    for (int ahead = 0; ahead < kStages - 1; ++ahead) rows.start_copy(first + ahead, ahead);
    WarpAttention<Element, kHeadDim> attention;
    attention.load_queries(params, list, group);
    int stage = 0;
    for (int at = first; at < last; ++at) {
      wait_copies<kStages - 2>();
      __syncwarp();  // all lanes' copies have arrived, and no lane reads the stage filled next
      const int next = stage == 0 ? kStages - 1 : stage - 1;
      rows.start_copy(at + kStages - 1, next);
      const unsigned listed = rows.listed_rows(kStages - 1);
      if (listed != 0) {
        attention.add(stages + stage * Layout::kStageBytes, listed, scale_log2, with_values);
      }
      stage = stage == kStages - 1 ? 0 : stage + 1;
    }
    wait_copies<0>();
    __syncthreads();  // before the stages hold what the warps leave
    attention.leave(shared_floats, group);
    __syncthreads();

    const int first_block = work.block_of(list_begin);
    const int last_block = work.block_of(list_end - 1);
    if (first_block == last_block) {
      store_whole<kHeadDim>(params, shared_floats, list, group);
    } else {
      const std::int64_t part = part_row(block, block == first_block, group);
      store_part<kHeadDim>(params, workspace, shared_floats, part, group);
      if (arrive_last(workspace.arrived + list, last_block - first_block + 1)) {
        merge_blocks<kHeadDim>(params, workspace, list, first_block, last_block, group,
                               shared_floats);
      }
    }
    __syncthreads();  // before the next list's rows come to `shared`
    tile = list_begin + last;
    list_begin = list_end;
  }
}

}  // namespace sinkrouter::cuda
