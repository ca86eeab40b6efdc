#pragma once

#include <cstdint>
#include <vector>

namespace sinkrouter {

// The share of decisions that may leave more than epsilon unread; the router tightens its bound
// until no more do.
inline constexpr float kAuditTarget = 0.1f;

// What the audit saw of one layer and KV head: decisions of margin whose rows were read in full
// afterwards. A decision is one q head at one step.
struct AuditedHead {
  int layer = 0;
  int kv_head = 0;
  std::int64_t decisions = 0;
  std::int64_t violations = 0;  // with more unread mass than epsilon
  double unread_mass = 0;       // mean
  double largest_unread_mass = 0;
  std::int64_t outputs = 0;  // decisions whose output was compared too
  double output_error = 0;   // mean of |output - dense output| / |dense output|
  double tightening = 1;     // what the router multiplies epsilon by, in (0, 1]

  double violation_rate() const {
    return decisions == 0 ? 0.0 : static_cast<double>(violations) / static_cast<double>(decisions);
  }
};

struct AuditSummary {
  AuditedHead total;               // layer and kv_head mean nothing; tightening is the common part
  std::vector<AuditedHead> heads;  // [layers * kv_heads]
};

}  // namespace sinkrouter
