#include "base/threads.h"

#include <sched.h>

#include <algorithm>
#include <chrono>

#include "base/check.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace sinkrouter {
namespace {

constexpr int kSpinsBeforeSleep = 20000;
constexpr int kSpinsBeforeYield = 1000;
constexpr int kMaxThreads = 1024;

constexpr std::uint64_t kGateInside = 0x7fffffff;
constexpr std::uint64_t kGateClosed = 0x80000000;
constexpr std::uint64_t open_gate(std::uint32_t generation) {
  return std::uint64_t{generation} << 32;
}

void relax() {
#if defined(__x86_64__)
  _mm_pause();
#else
  std::this_thread::yield();
#endif
}

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
    gate_.store(open_gate(generation), std::memory_order_release);
    generation_.store(generation, std::memory_order_release);
    generation_.notify_all();
  }
  drain(0);
  if (!alone) {
    gate_.fetch_or(kGateClosed, std::memory_order_acq_rel);
    // A worker that has lost its core to another process needs this one to finish.
    for (int spins = 0; (gate_.load(std::memory_order_acquire) & kGateInside) != 0; ++spins) {
      if (spins < kSpinsBeforeYield) {
        relax();
      } else {
        std::this_thread::yield();
      }
    }
  }
  if (failed_.load(std::memory_order_relaxed)) {
    failed_.store(false, std::memory_order_relaxed);
    std::rethrow_exception(std::exchange(failure_, nullptr));
  }
}

// Counts this worker into the loop of that generation, unless it has ended.
bool ThreadPool::enter(std::uint32_t generation) {
  std::uint64_t gate = gate_.load(std::memory_order_acquire);
  while ((gate & ~kGateInside) == open_gate(generation)) {
    if (gate_.compare_exchange_weak(gate, gate + 1, std::memory_order_acq_rel)) return true;
  }
  return false;
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
    if (!enter(seen)) continue;
    drain(worker);
    gate_.fetch_sub(1, std::memory_order_release);
  }
}

}  // namespace sinkrouter
