#include "eval/fixed_point/spread.h"

#include <algorithm>
#include <cstddef>

namespace sinkrouter {

Spread spread_of(std::vector<double> values) {
  if (values.empty()) return {};
  const auto at = [&](double share) {
    const auto place = values.begin() +
                       static_cast<std::ptrdiff_t>(share * static_cast<double>(values.size() - 1));
    std::nth_element(values.begin(), place, values.end());
    return *place;
  };
  return {.median = at(0.5), .p95 = at(0.95)};
}

}  // namespace sinkrouter
