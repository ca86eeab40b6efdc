#include <algorithm>
#include <fstream>
#include <system_error>

#include "base/check.h"
#include "sinkrouter/eval.h"
#include "text/utf8.h"

namespace sinkrouter {
namespace {

constexpr const char* kLicenceFolder = "/usr/share/common-licenses";

std::string read_text(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  std::string content((std::istreambuf_iterator<char>(stream)), std::istreambuf_iterator<char>());
  SR_CHECK(stream.is_open() && !stream.bad() && !std::filesystem::is_directory(path), kInvalidFile,
           "{}: cannot be read as a text file", path.string());
  SR_CHECK(text::is_utf8(content), kInvalidFile, "{}: not valid UTF-8; convert the file to UTF-8",
           path.string());
  return content;
}

std::vector<std::filesystem::path> licence_files() {
  std::vector<std::filesystem::path> files;
  std::error_code missing;
  for (const auto& entry : std::filesystem::directory_iterator(kLicenceFolder, missing)) {
    if (entry.is_regular_file() && !entry.is_symlink()) files.push_back(entry.path());
  }
  SR_CHECK(!files.empty(), kInvalidArgument, "{} holds no texts; pass --text FILE", kLicenceFolder);
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace

std::vector<std::string> load_texts(std::span<const std::filesystem::path> files) {
  const std::vector<std::filesystem::path> paths =
      files.empty() ? licence_files()
                    : std::vector<std::filesystem::path>(files.begin(), files.end());
  std::vector<std::string> texts;
  for (const auto& path : paths) texts.push_back(read_text(path));
  return texts;
}

}  // namespace sinkrouter
