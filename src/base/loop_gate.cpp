#include "base/loop_gate.h"

#include <thread>

#include "base/relax.h"

namespace sinkrouter {
namespace {

constexpr int kSpinsBeforeYield = 1000;

}  // namespace

void LoopGate::open(std::uint32_t loop) { state_.store(opened(loop), std::memory_order_release); }

void LoopGate::close() {
  state_.fetch_or(kClosed, std::memory_order_acq_rel);
  // A worker that has lost its core to another process needs this one to finish.
  for (int spins = 0; (state_.load(std::memory_order_acquire) & kInside) != 0; ++spins) {
    if (spins < kSpinsBeforeYield) {
      relax();
    } else {
      std::this_thread::yield();
    }
  }
}

bool LoopGate::enter(std::uint32_t loop) {
  std::uint64_t state = state_.load(std::memory_order_acquire);
  while ((state & ~kInside) == opened(loop)) {
    if (state_.compare_exchange_weak(state, state + 1, std::memory_order_acq_rel)) return true;
  }
  return false;
}

void LoopGate::leave() { state_.fetch_sub(1, std::memory_order_release); }

}  // namespace sinkrouter
