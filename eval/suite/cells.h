#pragma once

#include <string_view>

#include "sinkrouter/suite.h"

namespace sinkrouter {

// Null when there is no cell of this name.
const SuiteCell* find_cell(const SuiteResult& result, SuiteTask task, int context, SuiteMode mode,
                           std::string_view policy);
// The cell of this name, added in its place with nothing done when there is none.
SuiteCell& cell_of(SuiteResult& result, SuiteTask task, int context, SuiteMode mode,
                   std::string_view policy);

}  // namespace sinkrouter
