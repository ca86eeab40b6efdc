#pragma once

#include <span>
#include <vector>

#include "sinkrouter/drift.h"

namespace sinkrouter {

// The numbers of a segment from the steps in it. `steps` are all steps; segment.first and
// segment.count say which are its own.
void judge(std::span<const DriftStep> steps, DriftSegment& segment);

}  // namespace sinkrouter
