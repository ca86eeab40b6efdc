#include "eval/row_masses.h"

#include <algorithm>
#include <cmath>

namespace sinkrouter {

std::int64_t rows_on_list(const AttentionObservation& seen, int kv_head) {
  std::int64_t rows = 0;
  for (std::int32_t granule : seen.list(kv_head)) {
    const std::int64_t first = std::int64_t{granule} * seen.granule;
    rows += std::min<std::int64_t>(seen.granule, seen.length - first);
  }
  return rows;
}

void RowMasses::fill(const AttentionObservation& seen, int head) {
  count_ = static_cast<std::size_t>(seen.length);
  const float* logits = seen.logits.data() + head * seen.logit_stride;
  for (std::size_t row = 0; row < count_; ++row) {
    masses_[row] = std::exp(logits[row] - seen.lse[head]);
  }
}

double RowMasses::unread(const AttentionObservation& seen, int kv_head) const {
  double all = 0;
  for (float mass : rows()) all += mass;
  double read = 0;
  for (std::int32_t granule : seen.list(kv_head)) {
    const int first = granule * seen.granule;
    for (int row = first; row < std::min(first + seen.granule, seen.length); ++row) {
      read += masses_[row];
    }
  }
  // From sums of the same terms, so that reading everything leaves exactly nothing.
  return std::max(0.0, 1.0 - read / all);
}

}  // namespace sinkrouter
