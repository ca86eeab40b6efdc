#include "base/mapped_file.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/check.h"

namespace sinkrouter {

MappedFile::MappedFile(const std::filesystem::path& path) : file_(path), size_(file_.size()) {
  if (size_ == 0) return;
  void* address = ::mmap(nullptr, size_, PROT_READ, MAP_SHARED, file_.descriptor(), 0);
  SR_CHECK(address != MAP_FAILED, kInvalidFile, "cannot map {}: {}", path.string(),
           std::strerror(errno));
  data_ = static_cast<const std::byte*>(address);
  // Only advice: a large file that is read from disk now may get huge pages, and weights that every
  // step reads are then found in fewer page tables.
  static_cast<void>(::madvise(address, size_, MADV_HUGEPAGE));
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : file_(std::move(other.file_)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  MappedFile taken(std::move(other));
  std::swap(file_, taken.file_);
  std::swap(data_, taken.data_);
  std::swap(size_, taken.size_);
  return *this;
}

void MappedFile::require_whole() const {
  const std::size_t now = file_.size();
  SR_CHECK(now >= size_, kInvalidFile,
           "{} was cut to {} bytes while in use, expected the {} it had when it was opened",
           file_.path().string(), now, size_);
}

}  // namespace sinkrouter
