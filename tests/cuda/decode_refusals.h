#pragma once

namespace sinkrouter::cuda_tests {

// What each wrong parameter of decode attention must be answered with, before anything is launched.
// Needs a GPU; returns how many are not.
int check_refusals();

}  // namespace sinkrouter::cuda_tests
