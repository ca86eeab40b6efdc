#pragma once

#include <cstdint>
#include <vector>

#include "kv/kv_view.h"
#include "router/lists.h"
#include "sinkrouter/bench.h"

namespace sinkrouter {

// What a policy might have asked for, made at random: a share of the groups reads its kept set
// only, every other one a share of the rest as well.
struct ListChoice {
  double routed = 0;
  double read = 1;
  int window = 64;
  int granule = 32;
};

class RandomLists {
 public:
  RandomLists(const ListChoice& choice, int sequences, int kv_heads, int length,
              std::uint64_t seed);

  GranuleLists view();
  std::int64_t rows() const { return rows_; }  // on all lists together

 private:
  int granule_;
  std::int64_t capacity_;
  std::int64_t rows_ = 0;
  std::vector<std::int32_t> granules_;  // [sequences, kv_heads, capacity]
  std::vector<std::int32_t> counts_;    // [sequences, kv_heads]
};

}  // namespace sinkrouter
