#pragma once

#include <algorithm>
#include <functional>
#include <span>
#include <utility>
#include <vector>

#include "sinkrouter/fixed_point.h"

namespace sinkrouter {

// Nearest ranks; zeros of nothing.
Spread spread_of(std::vector<double> values);

// Of what `projection` makes of each item.
template <typename T, typename Projection>
Spread spread_of(std::span<const T> items, Projection projection) {
  std::vector<double> values(items.size());
  std::ranges::transform(items, values.begin(),
                         [&](const T& item) { return std::invoke(projection, item); });
  return spread_of(std::move(values));
}

}  // namespace sinkrouter
