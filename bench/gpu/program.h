#pragma once

#include <fmt/format.h>

#include <cstdio>
#include <exception>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/check.h"

// What the programs of this folder share around their work.
namespace sinkrouter::gpu_bench {

// Nothing when no file is named.
inline void write_json(const char* file, const nlohmann::json& report) {
  if (file == nullptr) return;
  std::ofstream stream(file);
  stream << report.dump(1) << '\n';
  SR_CHECK(stream.good(), kInvalidArgument, "cannot write {}", file);
}

// main(): Options has `help`; errors go to stderr in one line.
template <typename Parse, typename Run>
int run_program(const char* name, const char* help, const Parse& parse, const Run& run) {
  try {
    const auto options = parse();
    if (options.help) {
      fmt::print("{}", help);
    } else {
      run(options);
    }
    return 0;
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}: {}\n", name, error.what());
    return 1;
  }
}

}  // namespace sinkrouter::gpu_bench
