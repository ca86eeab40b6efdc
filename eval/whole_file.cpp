#include "eval/whole_file.h"

#include <unistd.h>

#include <fstream>
#include <system_error>

#include "base/check.h"

namespace sinkrouter {

void make_folder(const std::filesystem::path& directory) {
  std::error_code failure;
  std::filesystem::create_directories(directory, failure);
  SR_CHECK(!failure && std::filesystem::is_directory(directory), kInvalidFile,
           "{}: cannot be made a folder ({})", directory.string(),
           failure ? failure.message() : "a file of that name exists");
}

void write_whole_file(const std::filesystem::path& path, std::string_view content) {
  const std::filesystem::path draft =
      path.string() + fmt::format(".{}.tmp", static_cast<long>(getpid()));
  bool written = false;
  {
    std::ofstream stream(draft, std::ios::binary | std::ios::trunc);
    stream.write(content.data(), static_cast<std::streamsize>(content.size()));
    stream.close();
    written = stream.good();
  }
  std::error_code failure;
  if (written) std::filesystem::rename(draft, path, failure);
  if (!written || failure) {
    std::error_code ignored;
    std::filesystem::remove(draft, ignored);
  }
  SR_CHECK(written && !failure, kInvalidFile, "{}: cannot be written; is the folder writable?",
           path.string());
}

}  // namespace sinkrouter
