#include "runtime/audits.h"

#include <algorithm>

namespace sinkrouter {

Audit& Audits::of(const PolicyOptions& policy) {
  const auto found =
      std::ranges::find_if(entries_, [&](const auto& entry) { return entry->policy == policy; });
  if (found != entries_.end()) {
    std::rotate(found, found + 1, entries_.end());
    return entries_.back()->audit;
  }
  if (entries_.size() == kMost) entries_.erase(entries_.begin());
  entries_.push_back(
      std::make_unique<Entry>(Entry{policy, Audit(layers_, kv_heads_, kAuditTarget)}));
  return entries_.back()->audit;
}

AuditSummary Audits::last() const {
  return entries_.empty() ? AuditSummary{} : entries_.back()->audit.summary();
}

void Audits::reset() {
  for (const auto& entry : entries_) entry->audit.reset();
}

}  // namespace sinkrouter
