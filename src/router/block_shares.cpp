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
  const float largest = max_or_nan(logits, rows);
  if (!(largest < std::numeric_limits<float>::infinity())) {
    std::fill_n(shares, granule_count(rows, kBlockSize), std::numeric_limits<float>::quiet_NaN());
    return std::numeric_limits<float>::quiet_NaN();
  }
  const double total = fill_masses(logits, rows, largest, scratch);
  const auto share = static_cast<float>(weight / total);
  add_run_sums(scratch, rows, kBlockSize, share, shares);
  return largest + static_cast<float>(std::log(total));
}

}  // namespace sinkrouter
