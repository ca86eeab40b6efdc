#pragma once

#include <algorithm>
#include <chrono>
#include <vector>

#include "sinkrouter/read_stats.h"

namespace sinkrouter {

// Wall-clock seconds since it was made.
class Clock {
 public:
  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

// 0 when empty.
inline double median(std::vector<double> values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  if (values.size() % 2 == 1) return *middle;
  return 0.5 * (*middle + *std::max_element(values.begin(), middle));
}

inline ReadStats sum(const ReadStats& a, const ReadStats& b) {
  return {.tokens = a.tokens + b.tokens,
          .router_bytes = a.router_bytes + b.router_bytes,
          .attention_bytes = a.attention_bytes + b.attention_bytes,
          .audit_bytes = a.audit_bytes + b.audit_bytes,
          .dense_bytes = a.dense_bytes + b.dense_bytes,
          .decisions = a.decisions + b.decisions,
          .routed_decisions = a.routed_decisions + b.routed_decisions};
}

}  // namespace sinkrouter
