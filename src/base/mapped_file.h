#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

#include "base/file.h"

namespace sinkrouter {

// A read-only memory map of a whole file. Throws Error when the file cannot be opened or mapped;
// an empty file maps to an empty span. When another process cuts the file, touching what was cut
// raises SIGBUS: call require_whole() before a series of reads.
class MappedFile {
 public:
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return {data_, size_}; }

  // Throws Error when the file is shorter than it was when it was mapped.
  void require_whole() const;

 private:
  File file_;
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace sinkrouter
