#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/rng.h"
#include "kernels/params.h"
#include "kv/virtual_memory.h"

namespace sinkrouter {

struct Contender {
  std::string name;
  double bytes = 0;  // per round
  double flops = 0;
  std::function<void()> round;
  double rows = 0;  // of keys
};

struct Timing {
  double median = 0;
  double least = 0;
  double processor = 0;  // median of the processor time all threads took together
};

// Times the contenders in turn, `rounds` times over, so that whatever else the machine does meets
// them alike.
std::vector<Timing> time_in_turn(const std::vector<Contender>& contenders, int rounds);

// One line; `against` is a ratio to print at its end, or 0.
void print(const Contender& contender, const Timing& timing, double against);

inline constexpr std::int64_t kFootprint = 640 << 20;  // well above any processor's cache here

std::vector<float> random_floats(std::int64_t count, Rng& rng);

struct AttentionShape {
  int q_heads = 8;
  int kv_heads = 2;
  int head_dim = 64;
  DType dtype = DType::kBF16;
  int context = 32768;
  int page_size = 64;
};

// Several caches of one sequence with random contents, pages in order: as many as it takes to
// exceed the processor's own cache.
class CacheSet {
 public:
  CacheSet(const AttentionShape& shape, std::int64_t least_bytes);

  int count() const { return count_; }
  std::int64_t bytes_each() const;  // keys and values
  KvView view(int index) const;
  MomentsView moments(int index) const;

 private:
  AttentionShape shape_;
  int count_;
  int pages_;
  std::int32_t length_;
  VirtualMemory keys_;
  VirtualMemory values_;
  VirtualMemory codes_;
  std::vector<float> scales_;
  std::vector<std::int32_t> page_table_;
};

// Lists of a random share of all granules, one per KV head.
class RandomShare {
 public:
  RandomShare(const AttentionShape& shape, int granule, double share, Rng& rng);
  GranuleLists view();
  std::int64_t rows() const { return rows_; }

 private:
  int granule_;
  std::int64_t capacity_;
  std::int64_t rows_ = 0;
  std::vector<std::int32_t> granules_;
  std::vector<std::int32_t> counts_;
};

}  // namespace sinkrouter
