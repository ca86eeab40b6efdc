#pragma once

#include <cstdint>

namespace sinkrouter {

// Floats of 64-byte aligned scratch that add_block_shares needs for `rows` logits.
std::int64_t block_shares_scratch(int rows);

// Adds weight * softmax(logits), summed over blocks of kBlockSize rows, to shares
// [granule_count(rows, kBlockSize)], and returns the log-sum-exp. rows >= 1. Logits that are not
// numbers make all of them NaN.
float add_block_shares(const float* logits, int rows, float weight, float* scratch, float* shares);

}  // namespace sinkrouter
