#include <system_error>

#include "base/check.h"
#include "eval/whole_file.h"
#include "sinkrouter/inspect.h"

namespace sinkrouter {

void write_report(const InspectReport& report, const std::filesystem::path& directory) {
  std::error_code failure;
  std::filesystem::create_directories(directory, failure);
  SR_CHECK(!failure && std::filesystem::is_directory(directory), kInvalidFile,
           "{}: cannot be made a folder ({})", directory.string(),
           failure ? failure.message() : "a file of that name exists");
  write_whole_file(directory / "report.json", to_json(report) + "\n");
  write_whole_file(directory / "heads.svg", to_svg(report));
}

}  // namespace sinkrouter
