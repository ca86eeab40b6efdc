#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "kernels/params.h"

namespace sinkrouter::kernel_tests {

struct CacheShape {
  DType dtype = DType::kF32;
  int page_size = 64;
  int kv_heads = 1;
  int head_dim = 64;
  std::vector<std::int32_t> lengths;
};

// A paged KV cache with shuffled pages, padded strides and spare pages, all NaN until rows are
// filled.
class PagedCache {
 public:
  PagedCache(CacheShape shape, Rng& rng);

  // Random keys and values for one row.
  void fill_row(int sequence, int kv_head, int token, float key_deviation, Rng& rng);
  void fill_all(float key_deviation, Rng& rng);
  void poison_row(int sequence, int kv_head, int token);

  const KvView& view() const { return view_; }
  // Everything the view points at, to copy it elsewhere.
  std::span<const std::byte> keys() const { return keys_; }
  std::span<const std::byte> values() const { return values_; }
  std::span<const std::int32_t> page_table() const { return page_table_; }

 private:
  void put(std::vector<std::byte>& rows, std::int64_t index, float value);

  CacheShape shape_;
  std::vector<std::int32_t> page_table_;
  std::vector<std::byte> keys_;
  std::vector<std::byte> values_;
  KvView view_;
};

// Lists over such a cache; entries past each count name granules that do not exist.
class Lists {
 public:
  Lists(const KvView& kv, int granule);

  // A random ascending subset with this share of the granules.
  void choose(int sequence, int kv_head, double share, Rng& rng);
  std::vector<int> tokens(int sequence, int kv_head) const;  // those the list names
  const GranuleLists& view() const { return view_; }
  std::span<const std::int32_t> granules() const { return granules_; }
  std::span<const std::int32_t> counts() const { return counts_; }

 private:
  KvView kv_;
  std::vector<std::int32_t> granules_;
  std::vector<std::int32_t> counts_;
  GranuleLists view_;
};

}  // namespace sinkrouter::kernel_tests
