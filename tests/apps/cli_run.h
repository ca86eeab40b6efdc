#pragma once

#include <string>
#include <vector>

namespace sinkrouter::testing {

struct CliOutcome {
  int status = 0;  // of a program that ended by itself; -signal otherwise
  std::string out;
  std::string err;
};

// Runs the sinkrouter program with these arguments and `input` on its standard input.
CliOutcome run_cli(const std::vector<std::string>& arguments, const std::string& input = {});

}  // namespace sinkrouter::testing
