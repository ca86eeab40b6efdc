#pragma once

#include "router_cases.h"

namespace sinkrouter::cuda_tests {

// Appends the host's rows in chunks, and compares the cache and what describes it.
void check_append(const Case& c, const Host& h, Rng& rng, Report& report);
// Runs the stages of the router one by one, comparing each with the reference given what came
// before it, then all of them in a graph.
void check_router(const Case& c, const Host& h, Report& report);

}  // namespace sinkrouter::cuda_tests
