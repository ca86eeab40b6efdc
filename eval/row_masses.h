#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sinkrouter/observation.h"

namespace sinkrouter {

// Softmax masses of one q head's rows, exactly.
class RowMasses {
 public:
  explicit RowMasses(int most_rows) : masses_(static_cast<std::size_t>(most_rows)) {}

  // Of `head` (of all q heads); at most `most_rows` rows.
  void fill(const AttentionObservation& seen, int head);

  std::span<const float> rows() const { return {masses_.data(), count_}; }
  // The mass of the rows that are not on the list of the head's group.
  double unread(const AttentionObservation& seen, int kv_head) const;

 private:
  std::vector<float> masses_;
  std::size_t count_ = 0;
};

// How many rows the list of a group names.
std::int64_t rows_on_list(const AttentionObservation& seen, int kv_head);

}  // namespace sinkrouter
