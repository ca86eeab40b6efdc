#pragma once

#include <cstdint>

namespace sinkrouter {

// What to read: for each sequence and KV head an ascending list of granules, each `granule`
// consecutive rows starting at row index * granule (the last one may be cut by the length).
struct GranuleLists {
  std::int32_t* granules = nullptr;  // [sequences, kv_heads, capacity]
  std::int32_t* counts = nullptr;    // [sequences, kv_heads]
  std::int64_t capacity = 0;
  int granule = 1;

  std::int32_t* list(int sequence, int kv_head, int kv_heads) const {
    return granules + (std::int64_t{sequence} * kv_heads + kv_head) * capacity;
  }
};

}  // namespace sinkrouter
