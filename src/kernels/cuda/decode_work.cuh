#pragma once

#include <cstdint>

#include "kernels/cuda/decode_attention.h"

// Who reads what. All lists laid end to end are a row of tiles; every block takes an equal part of
// it, whatever the lists are, and works out by itself which.
namespace sinkrouter::cuda {

constexpr int kTileRows = 16;  // one step of one warp
constexpr unsigned kAllLanes = 0xffffffffu;

__device__ inline int rows_of_list(const GranuleLists& lists, int list) {
  const std::int64_t count = lists.counts[list];
  return static_cast<int>(min(max(count, std::int64_t{0}), lists.capacity)) * lists.granule;
}

__device__ inline int tiles_of_list(const GranuleLists& lists, int list) {
  return (rows_of_list(lists, list) + kTileRows - 1) / kTileRows;
}

// Tiles [first, last) of the row of tiles belong to this block, `list` begins at tile list_begin
// and holds the first of them. Blocks beyond `blocks` have nothing to do.
struct BlockWork {
  std::int64_t total = 0;
  int blocks = 0;
  int first = 0;
  int last = 0;
  int list = 0;
  int list_begin = 0;

  __device__ static int begin_of(std::int64_t total, int blocks, int block) {
    return static_cast<int>(total * block / blocks);
  }
  // The block whose part holds a tile.
  __device__ int block_of(std::int64_t tile) const {
    return static_cast<int>(((tile + 1) * blocks - 1) / total);
  }
};

// Called by all threads of the block.
template <int kWarps>
__device__ inline BlockWork find_work(const GranuleLists& lists, int list_count) {
  constexpr int kThreads = 32 * kWarps;
  __shared__ int warp_sums[kWarps];
  __shared__ int found[2];
  const int thread = static_cast<int>(threadIdx.x);
  const int each = (list_count + kThreads - 1) / kThreads;
  const int begin = min(thread * each, list_count);
  const int end = min(begin + each, list_count);
  int own = 0;
  for (int list = begin; list < end; ++list) own += tiles_of_list(lists, list);

  int inclusive = own;
  for (int step = 1; step < 32; step *= 2) {
    const int other = __shfl_up_sync(kAllLanes, inclusive, step);
    if (thread % 32 >= step) inclusive += other;
  }
  if (thread % 32 == 31) warp_sums[thread / 32] = inclusive;
  __syncthreads();
  int before = inclusive - own;
  int total = 0;
  for (int warp = 0; warp < kWarps; ++warp) {
    if (warp < thread / 32) before += warp_sums[warp];
    total += warp_sums[warp];
  }

  BlockWork work;
  work.total = total;
  work.blocks = min(static_cast<int>(gridDim.x), (total + kWarps - 1) / kWarps);
  const int block = static_cast<int>(blockIdx.x);
  if (block >= work.blocks) return work;
  work.first = BlockWork::begin_of(total, work.blocks, block);
  work.last = BlockWork::begin_of(total, work.blocks, block + 1);
  if (before <= work.first && work.first < before + own) {
    int list = begin;
    for (int tiles = tiles_of_list(lists, list); before + tiles <= work.first;
         tiles = tiles_of_list(lists, list)) {
      before += tiles;
      ++list;
    }
    found[0] = list;
    found[1] = before;
  }
  __syncthreads();
  work.list = found[0];
  work.list_begin = found[1];
  return work;
}

}  // namespace sinkrouter::cuda
