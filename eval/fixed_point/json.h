#pragma once

#include "eval/json_fields.h"
#include "sinkrouter/fixed_point.h"

namespace sinkrouter {

Json to_json(const FixedPointReport& report);

}  // namespace sinkrouter
