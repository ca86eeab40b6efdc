#include <bit>
#include "base/check.h"

#include "base/check.h"
#include "kernels/cpu/cpu.h"

namespace sinkrouter::cpu {
namespace {

constexpr std::size_t kAlignment = 64;

}  // namespace

void* Scratch::reserve(std::int64_t bytes) {
  SR_ASSERT(bytes >= 0);
  const std::size_t needed = static_cast<std::size_t>(bytes) + kAlignment;
  if (storage_.size() < needed) storage_.resize(needed);
  const auto address = std::bit_cast<std::uintptr_t>(storage_.data());
  return storage_.data() + (kAlignment - address % kAlignment) % kAlignment;
}

}  // namespace sinkrouter::cpu
