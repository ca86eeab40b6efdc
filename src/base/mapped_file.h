#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>

namespace sinkrouter {

// A read-only memory map of a whole file. Throws Error when the file cannot be opened or mapped;
// an empty file maps to an empty span.
class MappedFile {
 public:
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return {data_, size_}; }

 private:
  void unmap();

  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

// Reads a text file of at most `limit` bytes; throws Error naming the file otherwise.
std::string read_text_file(const std::filesystem::path& path, std::size_t limit);

}  // namespace sinkrouter
