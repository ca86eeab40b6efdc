#pragma once

#include <cstdint>

namespace sinkrouter {

// What decode steps read, counted exactly: moments, row sketches, and rows of K
// and V.
struct ReadStats {
  std::int64_t tokens = 0;            // decoded, over all sequences
  std::int64_t router_bytes = 0;      // moments and row sketches (oracle: nothing)
  std::int64_t attention_bytes = 0;   // K and V rows on the lists
  std::int64_t audit_bytes = 0;       // rows read again, in full, to check decisions
  std::int64_t dense_bytes = 0;       // what dense attention would have read
  std::int64_t decisions = 0;         // groups routed or not: one per layer, KV head and token
  std::int64_t routed_decisions = 0;  // those that read the kept set only

  double fraction_of_dense(std::int64_t bytes) const {
    return dense_bytes == 0 ? 0.0 : static_cast<double>(bytes) / static_cast<double>(dense_bytes);
  }
  double kv_read_fraction() const {
    return dense_bytes == 0 ? 1.0 : fraction_of_dense(router_bytes + attention_bytes + audit_bytes);
  }
  double routed_fraction() const {
    return decisions == 0 ? 0.0
                          : static_cast<double>(routed_decisions) / static_cast<double>(decisions);
  }
};

}  // namespace sinkrouter
