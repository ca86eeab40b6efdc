#pragma once

#include "kernels/cuda/router_device.cuh"

// Parts of lists that no estimate decides on, written by a whole CTA.
namespace sinkrouter::cuda {

inline constexpr int kListThreads = 1024;

// Entries first .. end of a list, by the whole CTA.
__device__ inline int write_run(std::int32_t* list, int at, int first, int end) {
  for (int i = first + static_cast<int>(threadIdx.x); i < end; i += kListThreads) {
    list[at + i - first] = i;
  }
  return at + max(end - first, 0);
}

// Kept granules as a list, everything else left out.
__device__ inline int write_kept(const DeviceKept& kept, const PinnedGranules& pinned,
                                 std::int32_t* list) {
  int at = write_run(list, 0, 0, kept.head_end);
  if (threadIdx.x < pinned.count) {
    const int own = pinned.granules[threadIdx.x];
    int rank = 0;
    for (int i = 0; i < pinned.count; ++i) rank += pinned.granules[i] < own ? 1 : 0;
    list[at + rank] = own;
  }
  at += pinned.count;
  return write_run(list, at, kept.tail_begin, kept.granules);
}

// The rows of the kept blocks.
__device__ inline int write_kept_rows(const DeviceKept& kept, const PinnedGranules& pinned,
                                      std::int32_t* list) {
  int at = write_run(list, 0, 0, min(kept.head_end * kBlockSize, kept.length));
  for (int i = 0; i < pinned.count; ++i) {
    int rank = 0;
    for (int j = 0; j < pinned.count; ++j) rank += pinned.granules[j] < pinned.granules[i] ? 1 : 0;
    const int first = pinned.granules[i] * kBlockSize;
    write_run(list, at + rank * kBlockSize, first, first + kBlockSize);
  }
  at += pinned.count * kBlockSize;
  return write_run(list, at, kept.tail_begin * kBlockSize, kept.length);
}

}  // namespace sinkrouter::cuda
