#include "eval/fixed_point/noise.h"

#include <cstddef>

#include "eval/fixed_point/attention.h"

namespace sinkrouter {

void NoisyAttention::attend(std::span<const double> logits, std::span<const float> values,
                            int head_dim) {
  logits_ = logits;
  values_ = values;
  output_.resize(static_cast<std::size_t>(head_dim));
  moved_output_.resize(output_.size());
  moved_logits_.resize(logits.size());
  masses_.resize(logits.size());
  softmax(logits, masses_);
  sink_mass_ = masses_[0];
  weighted_sum(masses_, values, output_);
}

Movement NoisyAttention::moved(std::span<const double> shift, double size) {
  for (std::size_t i = 0; i < logits_.size(); ++i) moved_logits_[i] = logits_[i] + size * shift[i];
  softmax(moved_logits_, masses_);
  weighted_sum(masses_, values_, moved_output_);
  return {.sink_mass_before = sink_mass_,
          .sink_mass = masses_[0],
          .output = distance(moved_output_, output_)};
}

}  // namespace sinkrouter
