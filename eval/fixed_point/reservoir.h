#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/rng.h"

namespace sinkrouter {

// At most so many of a stream of items, each kept with the same probability.
template <typename T>
class Reservoir {
 public:
  explicit Reservoir(std::size_t most) : most_(most) {}

  void add(const T& item, Rng& rng) {
    ++seen_;
    if (items_.size() < most_) {
      items_.push_back(item);
    } else if (const std::uint64_t place = rng.below(seen_); place < most_) {
      items_[place] = item;
    }
  }

  std::span<const T> items() const { return items_; }
  std::uint64_t seen() const { return seen_; }

 private:
  std::size_t most_;
  std::uint64_t seen_ = 0;
  std::vector<T> items_;
};

}  // namespace sinkrouter
