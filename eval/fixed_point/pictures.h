#pragma once

#include <string>

#include "sinkrouter/engine.h"
#include "sinkrouter/fixed_point.h"

namespace sinkrouter {

// Maps of layers and heads: how often dormant, the sink value's effect, what heads add.
std::string reach_svg(const ModelInfo& model, const FixedPointReport& report);
// Movement of sink mass and output over the size of the noise.
std::string stability_svg(const ModelInfo& model, const FixedPointReport& report);
// Measured error over its bound, counted in bins, a panel for each way of reading.
std::string error_svg(const ModelInfo& model, const FixedPointReport& report);

}  // namespace sinkrouter
