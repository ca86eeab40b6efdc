#include "base/threads.h"

#include <sched.h>

#include <algorithm>

#include "base/check.h"
#include "base/relax.h"

namespace sinkrouter {
namespace {

constexpr int kSpinsBeforeSleep = 20000;
constexpr int kMaxThreads = 1024;

int usable_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1u, std::thread::hardware_concurrency());
}

}  // namespace

ThreadPool::ThreadPool(int threads) {
  SR_CHECK(threads >= 0 && threads <= kMaxThreads, kInvalidArgument,
           "thread count {} is out of range: expected 0 (all cores) to {}", threads, kMaxThreads);
  const int total = threads == 0 ? usable_cores() : threads;
  for (int worker = 1; worker < total; ++worker) {
    workers_.emplace_back([this, worker] { worker_main(worker); });
  }
}

ThreadPool::~ThreadPool() {
  stop_.store(true);
  generation_.fetch_add(1);
  generation_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::run(int count, FunctionRef<void(int, int)> task) {
  if (count <= 0) return;
  task_ = &task;
  count_ = count;
  next_.store(0, std::memory_order_relaxed);
  const bool alone = workers_.empty() || count == 1;
  if (!alone) {
    const std::uint32_t generation = generation_.load(std::memory_order_relaxed) + 1;
    gate_.open(generation);
    generation_.store(generation, std::memory_order_release);
    generation_.notify_all();
  }
  drain(0);
  if (!alone) gate_.close();
  if (failed_.load(std::memory_order_relaxed)) {
    failed_.store(false, std::memory_order_relaxed);
    std::rethrow_exception(std::exchange(failure_, nullptr));
  }
}

void ThreadPool::drain(int worker) {
  for (;;) {
    const int index = next_.fetch_add(1, std::memory_order_relaxed);
    if (index >= count_) return;
    try {
      (*task_)(index, worker);
    } catch (...) {
      const std::lock_guard lock(failure_mutex_);
      if (!failed_.exchange(true)) failure_ = std::current_exception();
      next_.store(count_, std::memory_order_relaxed);
    }
  }
}

void ThreadPool::worker_main(int worker) {
  std::uint32_t seen = 0;
  for (;;) {
    int spins = 0;
    while (generation_.load(std::memory_order_acquire) == seen) {
      if (++spins < kSpinsBeforeSleep) {
        relax();
      } else {
        generation_.wait(seen, std::memory_order_acquire);
      }
    }
    seen = generation_.load(std::memory_order_acquire);
    if (stop_.load()) return;
    if (!gate_.enter(seen)) continue;
    drain(worker);
    gate_.leave();
  }
}

}  // namespace sinkrouter
