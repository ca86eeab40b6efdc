#include "decode_cases.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace sinkrouter::gpu_bench {
namespace {

// `count` of the numbers below `all`, ascending.
void draw_sorted(int count, int all, Rng& rng, std::int32_t* to) {
  int chosen = 0;
  for (int i = 0; i < all && chosen < count; ++i) {
    if (rng.below(all - i) < static_cast<std::uint64_t>(count - chosen)) to[chosen++] = i;
  }
}

}  // namespace

DrawnLists draw_lists(const DecodeCase& shape, int kv_heads, Rng& rng) {
  const int granules = (shape.context + shape.granule - 1) / shape.granule;
  const int chosen = std::max(1, static_cast<int>(std::lround(granules * shape.share)));
  DrawnLists lists;
  lists.capacity = std::max(chosen, 2);
  lists.granules.resize(lists.capacity * kv_heads * shape.batch);
  lists.counts.resize(std::size_t(kv_heads) * shape.batch);
  for (int sequence = 0; sequence < shape.batch; ++sequence) {
    std::vector<int> heads(kv_heads);
    for (int i = 0; i < kv_heads; ++i) heads[i] = i;
    for (int i = kv_heads - 1; i > 0; --i) std::swap(heads[i], heads[rng.below(i + 1)]);
    for (int i = 0; i < kv_heads; ++i) {
      const std::int64_t list = std::int64_t{sequence} * kv_heads + heads[i];
      std::int32_t* to = lists.granules.data() + list * lists.capacity;
      int count = chosen;
      if (i < shape.routed) {
        count = std::min(2, granules);
        to[0] = 0;
        to[count - 1] = granules - 1;
      } else {
        draw_sorted(chosen, granules, rng, to);
      }
      lists.counts[list] = count;
      lists.rows += std::int64_t{count} * shape.granule;
    }
  }
  return lists;
}

std::vector<DecodeCase> decode_cases(bool quick) {
  constexpr int kK = 1024;
  std::vector<DecodeCase> cases;
  for (bool in_order : {true, false}) {
    for (int context : {4, 8, 16, 32, 64, 128, 256, 512, 1024}) {
      if (quick && (context == 16 || context == 64 || context == 256)) continue;
      cases.push_back({"dense", context * kK, 1, 64, 0, 1.0, in_order});
    }
  }
  for (int context : {32, 128, 512}) {
    for (int routed : {2, 4, 6, 7}) cases.push_back({"routed", context * kK, 1, 64, routed});
    for (int part : {2, 4, 8}) cases.push_back({"pages", context * kK, 1, 64, 0, 1.0 / part});
    for (int part : {8, 20, 64}) cases.push_back({"rows", context * kK, 1, 1, 0, 1.0 / part});
  }
  cases.push_back({"dense", 32 * kK, 16});
  cases.push_back({"routed", 32 * kK, 16, 64, 4});
  cases.push_back({"rows", 32 * kK, 16, 1, 0, 0.05});
  return cases;
}

std::vector<DecodeCase> dense_cases(std::int64_t pool_tokens) {
  constexpr int kK = 1024;
  std::vector<DecodeCase> cases;
  for (int batch : {1, 4, 16, 64}) {
    for (int context : {4, 32, 128}) {
      if (std::int64_t{batch} * context * kK <= pool_tokens) {
        cases.push_back({"dense", context * kK, batch});
      }
    }
  }
  return cases;
}

std::vector<DecodeCase> few_cases() {
  constexpr int kK = 1024;
  std::vector<DecodeCase> cases;
  for (bool in_order : {true, false}) {
    for (int context : {4, 32, 128, 512}) {
      cases.push_back({"dense", context * kK, 1, 64, 0, 1.0, in_order});
    }
  }
  cases.push_back({"routed", 32 * kK, 1, 64, 4});
  cases.push_back({"routed", 32 * kK, 1, 64, 7});
  cases.push_back({"routed", 128 * kK, 1, 64, 7});
  cases.push_back({"rows", 512 * kK, 1, 1, 0, 0.05});
  return cases;
}

}  // namespace sinkrouter::gpu_bench
