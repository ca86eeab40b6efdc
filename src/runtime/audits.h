#pragma once

#include <memory>
#include <vector>

#include "router/audit.h"
#include "sinkrouter/policy.h"

namespace sinkrouter {

// An audit for each policy in use: what is learnt of one says nothing about another.
class Audits {
 public:
  Audits(int layers, int kv_heads) : layers_(layers), kv_heads_(kv_heads) {}

  // That policy's audit; a policy not seen before gets a new one, in place of the one used longest
  // ago when there are kMost.
  Audit& of(const PolicyOptions& policy);
  // Of the policy asked for last; nothing before that.
  AuditSummary last() const;
  void reset();  // what was seen, not what was learnt

 private:
  static constexpr std::size_t kMost = 64;

  struct Entry {
    PolicyOptions policy;
    Audit audit;
  };

  int layers_;
  int kv_heads_;
  std::vector<std::unique_ptr<Entry>> entries_;  // the latest last
};

}  // namespace sinkrouter
