#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "base/function_ref.h"
#include "base/loop_gate.h"

namespace sinkrouter {

// A fixed set of workers that share loops. The calling thread is worker 0; the others spin briefly
// for the next loop and then sleep, so back-to-back loops of a decode step cost about a
// microsecond. A worker that comes too late, because another process has its core, is not waited
// for. run() allocates nothing. One loop at a time: run() is not reentrant.
class ThreadPool {
 public:
  // threads = 0 takes every core this process may use.
  explicit ThreadPool(int threads = 0);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls task(index, worker) for every index in [0, count), each once, on any worker, and returns
  // when all are done. The first exception a task throws is rethrown here.
  void run(int count, FunctionRef<void(int index, int worker)> task);

 private:
  void worker_main(int worker);
  void drain(int worker);

  std::vector<std::thread> workers_;
  const FunctionRef<void(int, int)>* task_ = nullptr;
  int count_ = 0;
  std::atomic<int> next_{0};
  std::atomic<std::uint32_t> generation_{0};
  LoopGate gate_;
  std::atomic<bool> stop_{false};
  std::atomic<bool> failed_{false};
  std::mutex failure_mutex_;
  std::exception_ptr failure_;
};

}  // namespace sinkrouter
