#pragma once

#include <cuda_runtime_api.h>

#include "base/function_ref.h"

namespace sinkrouter::gpu_bench {

struct Timing {
  double median_us = 0;  // of one launch
  double least_us = 0;
};

// launch(0) ... launch(launches - 1) one after the other without a graph.
Timing time_launches(int launches, FunctionRef<void(int, cudaStream_t)> launch);

// Captures launch(0) ... launch(launches - 1) in one CUDA graph and times replays of it.
Timing time_in_graph(int launches, FunctionRef<void(int, cudaStream_t)> launch);

}  // namespace sinkrouter::gpu_bench
