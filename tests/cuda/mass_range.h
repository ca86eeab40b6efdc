#pragma once

#include <vector>

namespace sinkrouter::cuda_tests {

// What one q head must and may have on its list, for a rule that is right up to rounding.
struct Range {
  bool unknown = false;
  std::vector<bool> must;
  std::vector<bool> may;
  bool must_any = false;
  bool may_any = false;
  double left = 0;  // log
};

// `left`: log-mass that counts as unread whatever is chosen from v; `reference`: where bins of
// candidates begin. Bins may be read whole and count as their edges say (mass_histogram.cuh).
Range range_of(const std::vector<float>& v, float kept, float left, float epsilon, float reference);

}  // namespace sinkrouter::cuda_tests
