#pragma once

#include <span>
#include <vector>

namespace sinkrouter {

// The columns of W_O that belong to one q head, as far as norms go: |W v|^2 = v^T (W^T W) v.
class OutputMap {
 public:
  // columns [outputs, head_dim]
  OutputMap(std::span<const float> columns, int head_dim);

  double norm(std::span<const double> value) const;  // |W value|
  double norm(std::span<const float> value) const;

  // |W value| <= largest_gain() |value| for every value; at most 1% more than the largest singular
  // value of W for heads of up to 128 channels.
  double largest_gain() const { return largest_gain_; }

 private:
  std::vector<double> gram_;  // [head_dim, head_dim]
  double largest_gain_ = 0;
};

}  // namespace sinkrouter
