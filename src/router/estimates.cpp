#include "router/estimates.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/check.h"
#include "router/log_mass.h"

namespace sinkrouter {

void granule_log_masses(const float* in, std::int64_t in_stride, int group, int granules, int parts,
                        float* out, std::int64_t out_stride) {
  constexpr int kChunk = 2048;
  SR_ASSERT(parts >= 1 && parts <= kChunk && std::has_single_bit(static_cast<unsigned>(parts)));
  alignas(64) float chunk[kChunk] = {};
  const int chunk_granules = kChunk / parts;
  for (int q = 0; q < group; ++q) {
    for (int first = 0; first < granules; first += chunk_granules) {
      const int here = std::min(chunk_granules, granules - first);
      const float* source = in + q * in_stride + std::int64_t{first} * parts;
      std::memcpy(chunk, source, sizeof(float) * here * parts);
      for (int width = parts; width > 1; width /= 2) {
        const int pairs = here * (width / 2);
        const int padded = (pairs + kMassPadding - 1) / kMassPadding * kMassPadding;
        add_log_pairs(chunk, std::min(padded, kChunk / 2), chunk);
      }
      std::memcpy(out + q * out_stride + first, chunk, sizeof(float) * here);
    }
  }
}

void granule_bounds(const float* in, std::int64_t in_stride, int group, int granules, int parts,
                    float* out, std::int64_t out_stride) {
  SR_ASSERT(parts >= 1);
  for (int q = 0; q < group; ++q) {
    for (int g = 0; g < granules; ++g) {
      out[q * out_stride + g] = max_or_nan(in + q * in_stride + std::int64_t{g} * parts, parts);
    }
  }
}

}  // namespace sinkrouter
