#include "base/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include "base/check.h"

namespace sinkrouter {
namespace {

struct stat status_of(const File& file) {
  struct stat status {};
  SR_CHECK(::fstat(file.descriptor(), &status) == 0, kInvalidFile, "cannot read the size of {}: {}",
           file.path().string(), std::strerror(errno));
  return status;
}

// Fewer bytes than asked for only at the end of the file.
std::size_t read_bytes(const File& file, char* to, std::size_t bytes) {
  std::size_t done = 0;
  while (done < bytes) {
    const ssize_t got = ::read(file.descriptor(), to + done, bytes - done);
    if (got < 0 && errno == EINTR) continue;
    SR_CHECK(got >= 0, kInvalidFile, "cannot read {}: {}", file.path().string(),
             std::strerror(errno));
    if (got == 0) break;
    done += static_cast<std::size_t>(got);
  }
  return done;
}

}  // namespace

File::File(const std::filesystem::path& path) : File() {  // so that a throw below closes it
  path_ = path;
  descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  SR_CHECK(descriptor_ >= 0, kInvalidFile, "cannot open {}: {}", path.string(),
           std::strerror(errno));
  SR_CHECK(S_ISREG(status_of(*this).st_mode), kInvalidFile, "{} is not a regular file",
           path.string());
}

File::~File() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

File::File(File&& other) noexcept
    : path_(std::move(other.path_)), descriptor_(std::exchange(other.descriptor_, -1)) {}

File& File::operator=(File&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(descriptor_, other.descriptor_);
  return *this;
}

std::size_t File::size() const { return static_cast<std::size_t>(status_of(*this).st_size); }

bool file_exists(const std::filesystem::path& path) {
  std::error_code failure;
  const bool found = std::filesystem::exists(path, failure);
  SR_CHECK(!failure, kInvalidFile, "cannot look at {}: {}", path.string(), failure.message());
  return found;
}

std::vector<std::string> file_names(const std::filesystem::path& directory) {
  std::vector<std::string> names;
  std::error_code failure;
  std::filesystem::directory_iterator entry(directory, failure);
  for (; !failure && entry != std::filesystem::directory_iterator(); entry.increment(failure)) {
    names.push_back(entry->path().filename().string());
  }
  SR_CHECK(!failure, kInvalidFile, "cannot list {}: {}", directory.string(), failure.message());
  std::sort(names.begin(), names.end());
  return names;
}

std::string read_text_file(const std::filesystem::path& path, std::size_t limit) {
  const File file(path);
  const std::size_t size = file.size();
  SR_CHECK(size <= limit, kInvalidFile, "{} has {} bytes, expected at most {}", path.string(), size,
           limit);
  std::string text(size, '\0');
  text.resize(read_bytes(file, text.data(), size));
  return text;
}

}  // namespace sinkrouter
