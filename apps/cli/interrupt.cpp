#include "interrupt.h"

#include <pthread.h>

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <thread>

namespace sinkrouter::cli {
namespace {

constexpr int kEndedBySignal = 130;

std::atomic<bool> signal_seen{false};

}  // namespace

// A thread of its own waits for the signals; no handler may run in the others. A handler's frame is
// pushed wherever the stack pointer points, and oneDNN's matrix kernels borrow that register: with
// handlers, Ctrl-C now and then overwrote the heap.
void watch_interrupt() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);  // threads started from here on inherit it
  std::thread([signals] {
    int signal = 0;
    sigwait(&signals, &signal);
    signal_seen = true;
    sigwait(&signals, &signal);
    std::_Exit(kEndedBySignal);
  }).detach();
}

bool interrupted() { return signal_seen; }

void check_interrupt() {
  if (interrupted()) throw Interrupted{};
}

}  // namespace sinkrouter::cli
