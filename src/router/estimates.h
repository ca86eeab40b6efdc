#pragma once

#include <cstdint>

namespace sinkrouter {

// Log-masses of consecutive granules from the log-masses of their parts (blocks of one granule, or
// exact logits of its rows): out[q, g] = log sum exp in[q, g * parts ... g * parts + parts - 1].
// `granules` is usually kept.tail_begin: whatever is beyond is read anyway. NaN and +inf propagate,
// so that selection reads everything. `parts` is a power of two, at most 2048; out may be in.
void granule_log_masses(const float* in,  // [group, in_stride]
                        std::int64_t in_stride, int group, int granules, int parts,
                        float* out,  // [group, out_stride]
                        std::int64_t out_stride);

// Bounds of consecutive granules from those of their blocks: out[q, g] = max in[q, g * parts ... g
// * parts + parts - 1]; NaN when one is. out may be in.
void granule_bounds(const float* in,  // [group, in_stride]
                    std::int64_t in_stride, int group, int granules, int parts,
                    float* out,  // [group, out_stride]
                    std::int64_t out_stride);

}  // namespace sinkrouter
