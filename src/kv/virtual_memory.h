#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace sinkrouter {

// Zeroed anonymous memory that costs nothing until touched; its address never changes.
class VirtualMemory {
 public:
  VirtualMemory() = default;
  // Throws Error naming `purpose` when the address space cannot be reserved. With `large_pages` the
  // start is aligned to 2 MiB and the kernel is asked for transparent huge pages.
  VirtualMemory(std::int64_t bytes, bool large_pages, std::string_view purpose);
  ~VirtualMemory();
  VirtualMemory(VirtualMemory&& other) noexcept;
  VirtualMemory& operator=(VirtualMemory&& other) noexcept;
  VirtualMemory(const VirtualMemory&) = delete;
  VirtualMemory& operator=(const VirtualMemory&) = delete;

  std::byte* data() const { return data_; }
  std::int64_t bytes() const { return bytes_; }

  template <typename T>
  T* as() const {
    return reinterpret_cast<T*>(data_);
  }

 private:
  void unmap();

  void* mapping_ = nullptr;
  std::size_t mapped_bytes_ = 0;
  std::byte* data_ = nullptr;
  std::int64_t bytes_ = 0;
};

// a * b, both >= 0. Throws Error(kInvalidArgument) naming `what` when it overflows.
std::int64_t checked_multiply(std::int64_t a, std::int64_t b, std::string_view what);

}  // namespace sinkrouter
