#include "graph_timer.h"

#include <algorithm>
#include <vector>

#include "kernels/cuda/device.h"

namespace sinkrouter::gpu_bench {
namespace {

constexpr int kWarmUps = 3;
constexpr int kReplays = 21;

}  // namespace

Timing time_in_graph(int launches, FunctionRef<void(int, cudaStream_t)> launch) {
  cudaStream_t stream = nullptr;
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t exec = nullptr;
  cudaEvent_t begin = nullptr;
  cudaEvent_t end = nullptr;
  cuda::check(cudaStreamCreate(&stream), "stream");
  cuda::check(cudaEventCreate(&begin), "event");
  cuda::check(cudaEventCreate(&end), "event");
  cuda::check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "capture");
  for (int i = 0; i < launches; ++i) launch(i, stream);
  cuda::check(cudaStreamEndCapture(stream, &graph), "capture");
  cuda::check(cudaGraphInstantiate(&exec, graph, 0), "graph");
  std::vector<double> times;
  for (int replay = 0; replay < kWarmUps + kReplays; ++replay) {
    cuda::check(cudaEventRecord(begin, stream), "event");
    cuda::check(cudaGraphLaunch(exec, stream), "graph launch");
    cuda::check(cudaEventRecord(end, stream), "event");
    cuda::check(cudaEventSynchronize(end), "graph");
    float milliseconds = 0;
    cuda::check(cudaEventElapsedTime(&milliseconds, begin, end), "event");
    if (replay >= kWarmUps) times.push_back(milliseconds * 1e3 / launches);
  }
  cudaGraphExecDestroy(exec);
  cudaGraphDestroy(graph);
  cudaEventDestroy(begin);
  cudaEventDestroy(end);
  cudaStreamDestroy(stream);
  std::sort(times.begin(), times.end());
  return {times[times.size() / 2], times.front()};
}

}  // namespace sinkrouter::gpu_bench
