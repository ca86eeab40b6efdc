#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/rng.h"
#include "sinkrouter/audit.h"

namespace sinkrouter {

// Keeps epsilon honest. Estimates decide what is read; a random share of the decisions is then
// checked against the truth, and where more than `target` of them leave more than epsilon, the
// bound that the router works with tightens.
//
// The rule is that of adaptive conformal inference: the logarithm of the tightening falls by
// rate * (1 - target) for a violation and rises by rate * target for a decision that held, so the
// share of violations goes to the target, or below it where no tightening is needed, whatever the
// estimates are like and however they change. A common part reacts within a few audits, a part of
// each head's own within many.
class Audit {
 public:
  Audit(int layers, int kv_heads, float target);

  // Whether to check the next decision of a group: true for a random `share` of calls.
  bool draws(float share);
  // Whether this check compares outputs too.
  bool draws_output();

  // What to multiply epsilon by.
  float tightening(int layer, int kv_head) const;

  // The true unread masses of a group's q heads, and the relative errors of their outputs (empty:
  // not compared). A mass that is not a number counts as 1.
  void record(int layer, int kv_head, float epsilon, std::span<const float> unread_masses,
              std::span<const float> output_errors);

  AuditSummary summary() const;
  void reset();  // forgets what was seen, not the tightening

 private:
  struct Sums {
    std::int64_t decisions = 0;
    std::int64_t violations = 0;
    double unread_mass = 0;
    double largest = 0;
    std::int64_t outputs = 0;
    double output_error = 0;

    void add(float epsilon, std::span<const float> unread_masses,
             std::span<const float> output_errors);
    AuditedHead report(double tightening) const;
  };

  std::size_t index(int layer, int kv_head) const {
    return static_cast<std::size_t>(layer) * kv_heads_ + kv_head;
  }

  int kv_heads_ = 0;
  float target_ = 0;
  float common_ = 0;        // logarithm of the tightening that all heads share
  std::vector<float> own_;  // [layers, kv_heads], of each head's
  Sums total_;
  std::vector<Sums> sums_;  // [layers, kv_heads]
  Rng rng_;
};

}  // namespace sinkrouter
