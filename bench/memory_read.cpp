#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "bench/memory_read.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h, which includes this file once per instruction set.
#include <hwy/highway.h>

#include <cstdint>

HWY_BEFORE_NAMESPACE();
namespace sinkrouter::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Reads `words` words and returns something that depends on each.
std::uint64_t read_words(const std::uint64_t* data, std::int64_t words) {
  const hn::ScalableTag<std::uint64_t> tag;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(tag));
  auto a = hn::Zero(tag);
  auto b = a;
  auto c = a;
  auto d = a;
  std::int64_t i = 0;
  for (; i + 4 * lanes <= words; i += 4 * lanes) {
    a = hn::Xor(a, hn::LoadU(tag, data + i));
    b = hn::Xor(b, hn::LoadU(tag, data + i + lanes));
    c = hn::Xor(c, hn::LoadU(tag, data + i + 2 * lanes));
    d = hn::Xor(d, hn::LoadU(tag, data + i + 3 * lanes));
  }
  HWY_ALIGN std::uint64_t last[hn::MaxLanes(tag)];
  hn::Store(hn::Xor(hn::Xor(a, b), hn::Xor(c, d)), tag, last);
  std::uint64_t result = 0;
  for (std::int64_t lane = 0; lane < lanes; ++lane) result ^= last[lane];
  for (; i < words; ++i) result ^= data[i];
  return result;
}

}  // namespace sinkrouter::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <algorithm>
#include <atomic>

#include "base/rng.h"
#include "bench/memory_read.h"
#include "eval/clock.h"

namespace sinkrouter {
namespace {

HWY_EXPORT(read_words);

constexpr std::int64_t kPieceWords = 32768;  // a thread's turn: 256 KiB

}  // namespace

MemoryRead::MemoryRead(std::int64_t bytes, std::uint64_t seed)
    : memory_(bytes / 8 * 8, true, "the read bandwidth measurement") {
  Rng rng(seed);
  auto* words = memory_.as<std::uint64_t>();
  for (std::int64_t i = 0; i < memory_.bytes() / 8; ++i) words[i] = rng.next();
}

double MemoryRead::pass(ThreadPool& threads) {
  const std::int64_t words = memory_.bytes() / 8;
  const auto pieces = static_cast<int>((words + kPieceWords - 1) / kPieceWords);
  const auto* data = memory_.as<std::uint64_t>();
  std::atomic<std::uint64_t> seen{0};
  const Clock clock;
  threads.run(pieces, [&](int piece, int) {
    const std::int64_t first = piece * kPieceWords;
    const std::int64_t count = std::min(kPieceWords, words - first);
    seen.fetch_xor(HWY_DYNAMIC_DISPATCH(read_words)(data + first, count),
                   std::memory_order_relaxed);
  });
  const double seconds = clock.seconds();
  seen_ ^= seen.load();
  return seconds;
}

}  // namespace sinkrouter
#endif
