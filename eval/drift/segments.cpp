#include "eval/drift/segments.h"

#include <algorithm>

namespace sinkrouter {
namespace {

double mean_rate(std::span<const DriftStep> steps) {
  double total = 0;
  for (const DriftStep& step : steps) total += step.violation_rate;
  return steps.empty() ? 0.0 : total / static_cast<double>(steps.size());
}

}  // namespace

void judge(std::span<const DriftStep> steps, DriftSegment& segment) {
  const std::span<const DriftStep> own = steps.subspan(static_cast<std::size_t>(segment.first),
                                                       static_cast<std::size_t>(segment.count));
  segment.violation_rate = mean_rate(own);
  segment.settled_violation_rate =
      mean_rate(own.subspan(std::min<std::size_t>(own.size(), kDriftSettling)));
  segment.recovered_after = -1;
  for (std::size_t at = 0; at + kDriftWindow <= own.size(); ++at) {
    if (mean_rate(own.subspan(at, kDriftWindow)) <= kAuditTarget) {
      segment.recovered_after = static_cast<int>(at);
      return;
    }
  }
}

double DriftResult::violation_rate() const { return mean_rate(steps); }

}  // namespace sinkrouter
