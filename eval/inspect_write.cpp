#include "eval/fixed_point/pictures.h"
#include "eval/whole_file.h"
#include "sinkrouter/inspect.h"

namespace sinkrouter {

std::vector<std::string> write_report(const InspectReport& report,
                                      const std::filesystem::path& directory) {
  make_folder(directory);
  std::vector<std::string> written;
  const auto write = [&](const std::string& name, std::string_view content) {
    write_whole_file(directory / name, content);
    written.push_back(name);
  };
  write("report.json", to_json(report) + "\n");
  write("heads.svg", to_svg(report));
  if (report.fixed_point) {
    write("reachable.svg", reach_svg(report.model, *report.fixed_point));
    write("stable.svg", stability_svg(report.model, *report.fixed_point));
    write("error-controllable.svg", error_svg(report.model, *report.fixed_point));
  }
  return written;
}

}  // namespace sinkrouter
