#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/paging.h"
#include "kernels/reference/reference.h"
#include "kernels/reference/rows.h"

namespace sinkrouter::reference {

void block_scores(const BlockScoresParams& params) {
  const KvView& kv = params.kv;
  const int group = params.q_heads / kv.kv_heads;
  const double log_rows = std::log(double{kBlockSize});
  for (int sequence = 0; sequence < kv.sequences; ++sequence) {
    for (int head = 0; head < params.q_heads; ++head) {
      const std::int64_t row = std::int64_t{sequence} * params.q_heads + head;
      const float* query = params.queries + row * kv.head_dim;
      for (int block = 0; block < kv.lengths[sequence] / kBlockSize; ++block) {
        const std::int64_t index = moments_index(kv, sequence, head / group, block);
        const std::uint8_t* codes = params.moments.codes + index * 2 * kv.head_dim;
        const double scale = params.moments.scales[index];
        double along_mean = 0;
        double spread = 0;
        for (int c = 0; c < kv.head_dim; ++c) {
          const double mean = scale * to_float(Float8E4M3{codes[c]});
          const double deviation = scale * to_float(Float8E4M3{codes[kv.head_dim + c]});
          along_mean += query[c] * mean;
          spread += double{query[c]} * query[c] * deviation * deviation;
        }
        const double scaled = params.scale;
        params.scores[row * params.score_stride + block] =
            static_cast<float>(log_rows + scaled * along_mean + 0.5 * scaled * scaled * spread);
      }
    }
  }
}

void block_moments(const BlockMomentsParams& params) {
  std::vector<double> means(params.head_dim);
  std::vector<double> deviations(params.head_dim);
  double largest = 0;
  bool finite = true;
  for (int c = 0; c < params.head_dim; ++c) {
    double sum = 0;
    for (int row = 0; row < kBlockSize; ++row) {
      sum += element(params.keys, params.dtype, row * params.token_stride + c);
    }
    means[c] = sum / kBlockSize;
    double squares = 0;
    for (int row = 0; row < kBlockSize; ++row) {
      const double key = element(params.keys, params.dtype, row * params.token_stride + c);
      squares += (key - means[c]) * (key - means[c]);
    }
    deviations[c] = std::sqrt(squares / kBlockSize);
    largest = std::max({largest, std::fabs(means[c]), deviations[c]});
    finite = finite && std::isfinite(means[c]) && std::isfinite(deviations[c]);
  }
  if (!finite) {
    *params.scale = std::numeric_limits<float>::quiet_NaN();
    std::fill_n(params.codes, 2 * params.head_dim, std::uint8_t{0});
    return;
  }
  *params.scale = static_cast<float>(largest / 448.0);
  const double inverse = *params.scale > 0 ? 1.0 / *params.scale : 0.0;
  for (int c = 0; c < params.head_dim; ++c) {
    params.codes[c] = from_float<Float8E4M3>(static_cast<float>(means[c] * inverse)).bits;
    params.codes[params.head_dim + c] =
        from_float<Float8E4M3>(static_cast<float>(deviations[c] * inverse)).bits;
  }
}

}  // namespace sinkrouter::reference
