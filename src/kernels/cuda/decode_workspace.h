#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace sinkrouter::cuda {

// More parts of a list than kMostParts are merged in two steps: runs of kRun parts first, each by
// the last block of its run. One multiprocessor alone would take too long to read them all.
constexpr int kMostParts = 64;
constexpr int kRun = 16;
constexpr int kMostBlocks = kMostParts * kRun;

// Parts of lists in memory, a row for each q head of a group.
struct Parts {
  float* mixed;    // [rows, head_dim]
  float* largest;  // [rows]
  float* sums;     // [rows]

  __host__ __device__ Parts(float* memory, std::int64_t rows, int head_dim)
      : mixed(memory), largest(memory + rows * head_dim), sums(largest + rows) {}
};

// Parts of lists that several blocks share. A block has at most two of them: the end of a list
// that began in an earlier block (slot 0) and the beginning of one that goes on (slot 1).
struct Workspace {
  Parts parts;            // rows [blocks, 2, group]
  std::int32_t* arrived;  // [sequences, kv_heads], parts or runs that are there
  std::int32_t* in_run;   // [blocks, 2], parts that are there of the run that begins here

  __host__ __device__ Workspace(void* memory, int blocks, int group, int head_dim, int lists)
      : parts(static_cast<float*>(memory), std::int64_t{blocks} * 2 * group, head_dim),
        arrived(reinterpret_cast<std::int32_t*>(parts.sums + std::int64_t{blocks} * 2 * group)),
        in_run(arrived + lists) {}
  static std::int64_t bytes(int blocks, int group, int head_dim, std::int64_t lists) {
    const std::int64_t rows = std::int64_t{blocks} * 2 * group;
    return (rows * (head_dim + 2) + lists + 2 * blocks) * static_cast<std::int64_t>(sizeof(float));
  }
};

}  // namespace sinkrouter::cuda
