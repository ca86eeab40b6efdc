#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/rng.h"

namespace sinkrouter::gpu_bench {

// What a timed launch reads: `routed` of every sequence's KV heads their first and last granule
// only, the others a random share of their granules.
struct DecodeCase {
  std::string name;
  int context = 0;
  int batch = 1;
  int granule = 64;
  int routed = 0;
  double share = 1.0;
  bool in_order = false;  // pages lie in memory as the tokens do; else in random order
};

// Lists of a case, drawn at random.
struct DrawnLists {
  std::vector<std::int32_t> granules;  // [batch, kv_heads, capacity]
  std::vector<std::int32_t> counts;    // [batch, kv_heads]
  std::int64_t capacity = 0;
  std::int64_t rows = 0;  // on all lists together
};

DrawnLists draw_lists(const DecodeCase& shape, int kv_heads, Rng& rng);

// Dense first: the others are compared with dense at the same context and batch.
std::vector<DecodeCase> decode_cases(bool quick);

// Dense at batches from 1 to 64, as far as a pool of so many tokens allows.
std::vector<DecodeCase> dense_cases(std::int64_t pool_tokens);

// A few of them.
std::vector<DecodeCase> few_cases();

}  // namespace sinkrouter::gpu_bench
