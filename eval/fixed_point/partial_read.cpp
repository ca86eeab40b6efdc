#include "eval/fixed_point/partial_read.h"

#include <algorithm>

#include "eval/fixed_point/attention.h"

namespace sinkrouter {
namespace {

bool holds(int sets, int set) { return (sets >> set & 1) != 0; }

}  // namespace

PartialRead::PartialRead(int head_dim) : output_(static_cast<std::size_t>(head_dim)) {
  for (Part& part : parts_) part.sum.resize(output_.size());
}

void PartialRead::attend(std::span<const double> masses, std::span<const float> values,
                         std::span<const double> norms, std::span<const std::uint8_t> sets) {
  for (Part& part : parts_) {
    part.mass = 0;
    part.largest_norm = 0;
    std::ranges::fill(part.sum, 0.0);
  }
  const float* value = values.data();
  for (std::size_t row = 0; row < masses.size(); ++row, value += output_.size()) {
    Part& part = parts_[sets[row]];
    part.mass += masses[row];
    part.largest_norm = std::max(part.largest_norm, norms[row]);
    for (std::size_t i = 0; i < output_.size(); ++i) part.sum[i] += masses[row] * value[i];
  }
  double mass = 0;
  std::ranges::fill(output_, 0.0);
  for (const Part& part : parts_) {
    mass += part.mass;
    for (std::size_t i = 0; i < output_.size(); ++i) output_[i] += part.sum[i];
  }
  for (double& x : output_) x /= mass;
}

std::vector<double> PartialRead::output_of(int set) const {
  std::vector<double> output(output_.size());
  double mass = 0;
  for (int index = 0; index < kParts; ++index) {
    if (!holds(index, set)) continue;
    mass += parts_[index].mass;
    for (std::size_t i = 0; i < output.size(); ++i) output[i] += parts_[index].sum[i];
  }
  for (double& x : output) x /= mass;
  return output;
}

double PartialRead::unread_mass(int set) const {
  double unread = 0;
  double all = 0;
  for (int index = 0; index < kParts; ++index) {
    all += parts_[index].mass;
    if (!holds(index, set)) unread += parts_[index].mass;
  }
  return unread / all;
}

ReadError PartialRead::error_of(int set) const {
  double largest_norm = 0;
  for (int index = 0; index < kParts; ++index) {
    if (!holds(index, set)) largest_norm = std::max(largest_norm, parts_[index].largest_norm);
  }
  const std::vector<double> partial = output_of(set);
  ReadError result{.unread_mass = unread_mass(set)};
  result.bound = result.unread_mass * (largest_norm + norm(partial));
  result.difference = output_;
  for (std::size_t i = 0; i < partial.size(); ++i) result.difference[i] -= partial[i];
  result.error = norm(result.difference);
  return result;
}

}  // namespace sinkrouter
