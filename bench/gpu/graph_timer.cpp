#include "graph_timer.h"

#include <algorithm>
#include <vector>

#include "kernels/cuda/device.h"

namespace sinkrouter::gpu_bench {
namespace {

constexpr int kWarmUps = 3;
constexpr int kReplays = 21;

class Stream {
 public:
  Stream() {
    cuda::check(cudaStreamCreate(&stream_), "stream");
    cuda::check(cudaEventCreate(&begin_), "event");
    cuda::check(cudaEventCreate(&end_), "event");
  }
  ~Stream() {
    cudaEventDestroy(begin_);
    cudaEventDestroy(end_);
    cudaStreamDestroy(stream_);
  }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  cudaStream_t get() const { return stream_; }

  // Of `run` repeated, per launch of the `launches` it makes.
  Timing time(int launches, FunctionRef<void()> run) const {
    std::vector<double> times;
    for (int replay = 0; replay < kWarmUps + kReplays; ++replay) {
      cuda::check(cudaEventRecord(begin_, stream_), "event");
      run();
      cuda::check(cudaEventRecord(end_, stream_), "event");
      cuda::check(cudaEventSynchronize(end_), "timed launches");
      float milliseconds = 0;
      cuda::check(cudaEventElapsedTime(&milliseconds, begin_, end_), "event");
      if (replay >= kWarmUps) times.push_back(milliseconds * 1e3 / launches);
    }
    std::sort(times.begin(), times.end());
    return {times[times.size() / 2], times.front()};
  }

 private:
  cudaStream_t stream_ = nullptr;
  cudaEvent_t begin_ = nullptr;
  cudaEvent_t end_ = nullptr;
};

}  // namespace

Timing time_launches(int launches, FunctionRef<void(int, cudaStream_t)> launch) {
  const Stream stream;
  return stream.time(launches, [&] {
    for (int i = 0; i < launches; ++i) launch(i, stream.get());
  });
}

Timing time_in_graph(int launches, FunctionRef<void(int, cudaStream_t)> launch) {
  const Stream stream;
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t exec = nullptr;
  cuda::check(cudaStreamBeginCapture(stream.get(), cudaStreamCaptureModeThreadLocal), "capture");
  for (int i = 0; i < launches; ++i) launch(i, stream.get());
  cuda::check(cudaStreamEndCapture(stream.get(), &graph), "capture");
  cuda::check(cudaGraphInstantiate(&exec, graph, 0), "graph");
  const Timing timing = stream.time(
      launches, [&] { cuda::check(cudaGraphLaunch(exec, stream.get()), "graph launch"); });
  cudaGraphExecDestroy(exec);
  cudaGraphDestroy(graph);
  return timing;
}

}  // namespace sinkrouter::gpu_bench
