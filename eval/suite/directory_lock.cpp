#include "eval/suite/directory_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "base/check.h"

namespace sinkrouter {

DirectoryLock::DirectoryLock(const std::filesystem::path& directory)
    : descriptor_(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
  SR_CHECK(descriptor_ >= 0, kInvalidFile, "{}: cannot be opened as a folder ({})",
           directory.string(), std::generic_category().message(errno));
  // Some network file systems lock no folders; there, runs are not kept apart.
  if (::flock(descriptor_, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) return;
  ::close(descriptor_);
  throw Error(Error::Kind::kInvalidFile,
              fmt::format("{}: another run is writing here; wait for it or pass another folder",
                          directory.string()));
}

DirectoryLock::~DirectoryLock() { ::close(descriptor_); }

}  // namespace sinkrouter
