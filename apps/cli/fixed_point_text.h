#pragma once

#include <string>

#include "sinkrouter/fixed_point.h"

namespace sinkrouter::cli {

// What people read of a report.
std::string to_text(const FixedPointReport& report);

}  // namespace sinkrouter::cli
