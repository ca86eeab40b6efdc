#pragma once

#include <string>

#include "sinkrouter/inspect.h"

namespace sinkrouter::cli {

// What people read of a report.
std::string to_text(const InspectReport& report);

}  // namespace sinkrouter::cli
