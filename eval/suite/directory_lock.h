#pragma once

#include <filesystem>

namespace sinkrouter {

// Keeps other processes that ask for it out of a directory until destroyed or the process ends,
// however it ends; leaves no file behind.
class DirectoryLock {
 public:
  // Throws Error (kInvalidFile) when the directory cannot be opened or another holder has it.
  explicit DirectoryLock(const std::filesystem::path& directory);
  ~DirectoryLock();
  DirectoryLock(const DirectoryLock&) = delete;
  DirectoryLock& operator=(const DirectoryLock&) = delete;

 private:
  int descriptor_ = -1;
};

}  // namespace sinkrouter
