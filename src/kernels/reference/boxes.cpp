#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/paging.h"
#include "kernels/reference/reference.h"
#include "kernels/reference/rows.h"
#include "kernels/rounding.h"

namespace sinkrouter::reference {

void key_box(const KeyBoxParams& params) {
  for (int c = 0; c < params.head_dim; ++c) {
    float least = std::numeric_limits<float>::infinity();
    float largest = -least;
    bool finite = true;
    for (int row = 0; row < kBlockSize; ++row) {
      const auto key =
          static_cast<float>(element(params.keys, params.dtype, row * params.token_stride + c));
      finite = finite && std::isfinite(key);
      least = std::min(least, key);
      largest = std::max(largest, key);
    }
    if (!finite) least = largest = std::numeric_limits<float>::quiet_NaN();
    params.box[c] = bfloat16_not_above(least);
    params.box[params.head_dim + c] = bfloat16_not_below(largest);
  }
}

void box_bounds(const BoxBoundsParams& params) {
  const KvView& kv = params.kv;
  const int group = params.q_heads / kv.kv_heads;
  for (int sequence = 0; sequence < kv.sequences; ++sequence) {
    for (int head = 0; head < params.q_heads; ++head) {
      const std::int64_t row = std::int64_t{sequence} * params.q_heads + head;
      const float* query = params.queries + row * kv.head_dim;
      for (int block = 0; block < kv.lengths[sequence] / kBlockSize; ++block) {
        const std::int64_t index = moments_index(kv, sequence, head / group, block);
        const BFloat16* box = params.boxes.bounds + index * 2 * kv.head_dim;
        double bound = 0;
        for (int c = 0; c < kv.head_dim; ++c) {
          const double along = double{params.scale} * query[c];
          bound += std::max(along * to_float(box[c]), along * to_float(box[kv.head_dim + c]));
        }
        params.bounds[row * params.bound_stride + block] = static_cast<float>(bound);
      }
    }
  }
}

}  // namespace sinkrouter::reference
