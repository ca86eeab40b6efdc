#pragma once

#include <cmath>
#include <span>
#include <vector>

namespace sinkrouter {

struct Movement {
  double sink_mass_before = 0;
  double sink_mass = 0;  // afterwards
  double output = 0;     // norm of the output's change

  double sink_mass_change() const { return std::abs(sink_mass - sink_mass_before); }
};

// One q head's attention when its logits move. Keeps what it needs between calls.
class NoisyAttention {
 public:
  // The decision as it is: logits [rows], values [rows, head_dim].
  void attend(std::span<const double> logits, std::span<const float> values, int head_dim);
  // With logits + size * shift.
  Movement moved(std::span<const double> shift, double size);

 private:
  std::span<const double> logits_;
  std::span<const float> values_;
  double sink_mass_ = 0;
  std::vector<double> output_;        // [head_dim]
  std::vector<double> moved_output_;  // [head_dim]
  std::vector<double> moved_logits_;  // [rows]
  std::vector<double> masses_;        // [rows]
};

}  // namespace sinkrouter
