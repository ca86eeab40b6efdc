#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

namespace sinkrouter {

// A regular file, open for reading. Throws Error naming the file when it is anything else.
class File {
 public:
  explicit File(const std::filesystem::path& path);
  ~File();
  File(File&& other) noexcept;
  File& operator=(File&& other) noexcept;
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  const std::filesystem::path& path() const { return path_; }
  int descriptor() const { return descriptor_; }
  std::size_t size() const;  // at this moment

 private:
  File() = default;

  std::filesystem::path path_;
  int descriptor_ = -1;  // none
};

// Whether there is anything of this name; throws Error when that cannot be told.
bool file_exists(const std::filesystem::path& path);

// The names in a directory, sorted; throws Error when it cannot be listed.
std::vector<std::string> file_names(const std::filesystem::path& directory);

// Reads a text file of at most `limit` bytes; throws Error naming the file otherwise.
std::string read_text_file(const std::filesystem::path& path, std::size_t limit);

}  // namespace sinkrouter
