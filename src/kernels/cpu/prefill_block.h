#pragma once

#include <cstdint>

// What the parts of prefill attention say to each other.
namespace sinkrouter::cpu {

inline constexpr int kTileKeys = 64;
inline constexpr int kRowBlock = 6;  // query rows whose accumulators stay in registers
inline constexpr int kMostLanes = 16;

// Consecutive tokens of the call, for all q heads of one KV head.
struct PrefillBlock {
  int kv_head = 0;
  int token = 0;
  int tokens = 0;
};

inline int padded_rows(int rows) { return (rows + kRowBlock - 1) / kRowBlock * kRowBlock; }

// One worker's arrays.
struct PrefillScratch {
  PrefillScratch(float* memory, int padded, int head_dim)
      : keys(memory),
        values(keys + kTileKeys * head_dim),
        queries(values + kTileKeys * head_dim),
        mixed(queries + padded * head_dim),
        sums(mixed + padded * head_dim),
        maximum(sums + padded * kMostLanes) {}

  static std::int64_t floats(int padded, int head_dim) {
    const std::int64_t used = std::int64_t{2} * kTileKeys * head_dim +
                              std::int64_t{padded} * (2 * head_dim + kMostLanes + 1);
    return (used + kMostLanes - 1) / kMostLanes * kMostLanes;
  }

  float* keys;     // [head_dim, kTileKeys]
  float* values;   // [kTileKeys, head_dim]
  float* queries;  // [padded, head_dim], scaled
  float* mixed;    // [padded, head_dim], not yet normalised
  float* sums;     // [padded, lanes]
  float* maximum;  // [padded]
};

}  // namespace sinkrouter::cpu
