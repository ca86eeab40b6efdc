#include "router/block_shares.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/block_size.h"
#include "router/kept_set.h"
#include "router/log_mass.h"

namespace sinkrouter {

std::int64_t block_shares_scratch(int rows) {
  return (std::int64_t{rows} + kMassPadding - 1) / kMassPadding * kMassPadding;
}

float add_block_shares(const float* logits, int rows, float weight, float* scratch, float* shares) {
  const int blocks = granule_count(rows, kBlockSize);
  const float largest = max_or_nan(logits, rows);
  if (!(largest < std::numeric_limits<float>::infinity())) {
    std::fill_n(shares, blocks, std::numeric_limits<float>::quiet_NaN());
    return std::numeric_limits<float>::quiet_NaN();
  }
  const double total = fill_masses(logits, rows, largest, scratch);
  const auto share = static_cast<float>(weight / total);
  for (int block = 0; block < blocks; ++block) {
    const int first = block * kBlockSize;
    const int last = std::min(first + kBlockSize, rows);
    float mass = 0;
    for (int row = first; row < last; ++row) mass += scratch[row];
    shares[block] += mass * share;
  }
  return largest + static_cast<float>(std::log(total));
}

}  // namespace sinkrouter
