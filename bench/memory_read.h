#pragma once

#include <cstdint>

#include "base/threads.h"
#include "kv/virtual_memory.h"

namespace sinkrouter {

// Memory of its own, filled with random bits, to learn how fast a pool of threads can read.
class MemoryRead {
 public:
  explicit MemoryRead(std::int64_t bytes, std::uint64_t seed);

  std::int64_t bytes() const { return memory_.bytes(); }
  // Reads all of it once, in order, spread over the threads; returns the seconds it took.
  double pass(ThreadPool& threads);

 private:
  VirtualMemory memory_;
  std::uint64_t seen_ = 0;  // keeps the reads from being optimised away
};

}  // namespace sinkrouter
