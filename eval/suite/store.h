#pragma once

#include <filesystem>
#include <string_view>

#include "eval/suite/cells.h"
#include "eval/suite/directory_lock.h"
#include "sinkrouter/suite.h"

namespace sinkrouter {

// A results directory while a run fills it.
class SuiteStore {
 public:
  // Makes the directory when missing, keeps other runs out of it and reads what it holds. Throws
  // Error (kInvalidFile) as eval_suite does; the directory is then as it was.
  SuiteStore(const std::filesystem::path& directory, const SuiteSettings& settings);

  const SuiteResult& result() const { return result_; }
  // References last until the next cell is added.
  SuiteCell& cell(SuiteTask task, int context, SuiteMode mode, std::string_view policy) {
    return cell_of(result_, task, context, mode, policy);
  }
  void save() const;

 private:
  std::filesystem::path directory_;
  DirectoryLock lock_;
  SuiteResult result_;
};

// Throws Error (kInvalidFile) naming the file, the field, its value and what was expected.
SuiteResult parse_suite(std::string_view json, const std::filesystem::path& file);

}  // namespace sinkrouter
