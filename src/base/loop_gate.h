#pragma once

#include <atomic>
#include <cstdint>

namespace sinkrouter {

// Lets workers into a loop while it is open, and its owner wait until they have left. Loops are
// numbered, so that a worker that comes late does not end up in the next one.
class LoopGate {
 public:
  void open(std::uint32_t loop);
  // From here on nobody enters; returns when those inside have left.
  void close();

  // Whether the caller is inside now; then it must leave.
  bool enter(std::uint32_t loop);
  void leave();

 private:
  static constexpr std::uint64_t kInside = 0x7fffffff;
  static constexpr std::uint64_t kClosed = 0x80000000;
  static constexpr std::uint64_t opened(std::uint32_t loop) { return std::uint64_t{loop} << 32; }

  // The loop's number, whether it is closed, how many are inside.
  std::atomic<std::uint64_t> state_{kClosed};
};

}  // namespace sinkrouter
