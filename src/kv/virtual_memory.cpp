#include "kv/virtual_memory.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/check.h"

namespace sinkrouter {
namespace {

constexpr std::int64_t kLargePage = std::int64_t{2} << 20;
constexpr std::int64_t kAddressSpace = std::int64_t{1} << 47;

}  // namespace

VirtualMemory::VirtualMemory(std::int64_t bytes, bool large_pages, std::string_view purpose) {
  SR_ASSERT(bytes >= 0);
  if (bytes == 0) return;
  SR_CHECK(bytes < kAddressSpace, kInvalidArgument,
           "{} would take {} bytes: expected less than 2^47, the address space", purpose, bytes);
  // Whole huge pages, and room to begin at a multiple of them.
  const std::int64_t wanted =
      large_pages ? (bytes + kLargePage - 1) / kLargePage * kLargePage : bytes;
  const auto mapped = static_cast<std::size_t>(large_pages ? wanted + kLargePage : wanted);
  void* mapping = mmap(nullptr, mapped, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  SR_CHECK(mapping != MAP_FAILED, kOutOfCapacity,
           "cannot reserve {} bytes of address space for {} ({}): choose a smaller capacity", bytes,
           purpose, std::strerror(errno));
  mapping_ = mapping;
  mapped_bytes_ = mapped;
  bytes_ = bytes;
  data_ = static_cast<std::byte*>(mapping);
  if (large_pages) {
    const auto misaligned = reinterpret_cast<std::uintptr_t>(data_) % kLargePage;
    if (misaligned != 0) data_ += kLargePage - misaligned;
    // Only advice: without huge pages everything works, a little slower.
    static_cast<void>(madvise(data_, static_cast<std::size_t>(wanted), MADV_HUGEPAGE));
  }
}

VirtualMemory::~VirtualMemory() { unmap(); }

VirtualMemory::VirtualMemory(VirtualMemory&& other) noexcept { *this = std::move(other); }

VirtualMemory& VirtualMemory::operator=(VirtualMemory&& other) noexcept {
  if (this == &other) return *this;
  unmap();
  mapping_ = std::exchange(other.mapping_, nullptr);
  mapped_bytes_ = std::exchange(other.mapped_bytes_, 0);
  data_ = std::exchange(other.data_, nullptr);
  bytes_ = std::exchange(other.bytes_, 0);
  return *this;
}

void VirtualMemory::unmap() {
  if (mapping_ != nullptr) munmap(mapping_, mapped_bytes_);
}

std::int64_t checked_multiply(std::int64_t a, std::int64_t b, std::string_view what) {
  std::int64_t product = 0;
  SR_CHECK(!__builtin_mul_overflow(a, b, &product), kInvalidArgument,
           "{} overflows: {} times {} does not fit 64 bits", what, a, b);
  return product;
}

}  // namespace sinkrouter
