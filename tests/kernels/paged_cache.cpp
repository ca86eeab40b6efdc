#include "kernels/paged_cache.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <numeric>

#include "base/dtype.h"
#include "kernels/paging.h"

namespace sinkrouter::kernel_tests {

PagedCache::PagedCache(CacheShape shape, Rng& rng) : shape_(std::move(shape)) {
  const int sequences = static_cast<int>(shape_.lengths.size());
  const int longest = std::max(1, *std::max_element(shape_.lengths.begin(), shape_.lengths.end()));
  const int pages_each = (longest + shape_.page_size - 1) / shape_.page_size + 1;
  const int pages = sequences * pages_each + 2;

  std::vector<std::int32_t> shuffled(pages);
  std::iota(shuffled.begin(), shuffled.end(), 0);
  for (int i = pages - 1; i > 0; --i) std::swap(shuffled[i], shuffled[rng.below(i + 1)]);
  page_table_.assign(shuffled.begin(), shuffled.begin() + sequences * pages_each);

  view_.dtype = shape_.dtype;
  view_.token_stride = shape_.head_dim + static_cast<int>(rng.below(3)) * 16;
  view_.head_stride = shape_.page_size * view_.token_stride + static_cast<int>(rng.below(3)) * 16;
  view_.page_stride = shape_.kv_heads * view_.head_stride + static_cast<int>(rng.below(3)) * 32;
  if (rng.below(2) == 0) {  // [pages, page_size, kv_heads, head_dim], as other engines have it
    view_.head_stride = shape_.head_dim;
    view_.token_stride = std::int64_t{shape_.head_dim} * shape_.kv_heads;
    view_.page_stride = view_.token_stride * shape_.page_size;
  }
  view_.page_size = shape_.page_size;
  view_.kv_heads = shape_.kv_heads;
  view_.head_dim = shape_.head_dim;
  view_.sequences = sequences;
  view_.page_table = page_table_.data();
  view_.page_table_stride = pages_each;
  view_.lengths = shape_.lengths.data();

  const std::int64_t elements = pages * view_.page_stride;
  for (auto* rows : {&keys_, &values_}) {
    rows->resize(elements * size_in_bytes(shape_.dtype));
    for (std::int64_t i = 0; i < elements; ++i) {
      put(*rows, i, std::numeric_limits<float>::quiet_NaN());
    }
  }
  view_.keys = keys_.data();
  view_.values = values_.data();
}

void PagedCache::put(std::vector<std::byte>& rows, std::int64_t index, float value) {
  visit_dtype<float, BFloat16, Float16, Float8E4M3>(shape_.dtype, [&]<typename T>() {
    const T element = from_float<T>(value);
    std::memcpy(rows.data() + index * sizeof(T), &element, sizeof(T));
  });
}

void PagedCache::fill_row(int sequence, int kv_head, int token, float key_deviation, Rng& rng) {
  const std::int64_t offset = row_offset(view_, sequence, kv_head, token);
  for (int c = 0; c < shape_.head_dim; ++c) {
    put(keys_, offset + c, key_deviation * rng.normal());
    put(values_, offset + c, rng.normal());
  }
}

void PagedCache::fill_all(float key_deviation, Rng& rng) {
  for (int s = 0; s < view_.sequences; ++s) {
    for (int h = 0; h < view_.kv_heads; ++h) {
      for (int t = 0; t < shape_.lengths[s]; ++t) fill_row(s, h, t, key_deviation, rng);
    }
  }
}

void PagedCache::poison_row(int sequence, int kv_head, int token) {
  const std::int64_t offset = row_offset(view_, sequence, kv_head, token);
  put(keys_, offset, std::numeric_limits<float>::quiet_NaN());
}

Lists::Lists(const KvView& kv, int granule) : kv_(kv) {
  const int longest = *std::max_element(kv.lengths, kv.lengths + kv.sequences);
  view_.granule = granule;
  view_.capacity = (longest + granule - 1) / granule + 3;
  const std::int64_t lists = std::int64_t{kv.sequences} * kv.kv_heads;
  granules_.assign(lists * view_.capacity, std::numeric_limits<std::int32_t>::max() / granule);
  counts_.assign(lists, 0);
  view_.granules = granules_.data();
  view_.counts = counts_.data();
}

void Lists::choose(int sequence, int kv_head, double share, Rng& rng) {
  const int all = (kv_.lengths[sequence] + view_.granule - 1) / view_.granule;
  std::int32_t* list = view_.list(sequence, kv_head, kv_.kv_heads);
  int count = 0;
  for (int granule = 0; granule < all; ++granule) {
    if (rng.uniform() < share) list[count++] = granule;
  }
  counts_[std::int64_t{sequence} * kv_.kv_heads + kv_head] = count;
}

std::vector<int> Lists::tokens(int sequence, int kv_head) const {
  const std::int32_t* list = view_.list(sequence, kv_head, kv_.kv_heads);
  std::vector<int> tokens;
  for (int i = 0; i < counts_[std::int64_t{sequence} * kv_.kv_heads + kv_head]; ++i) {
    const int begin = list[i] * view_.granule;
    const int end = std::min(begin + view_.granule, kv_.lengths[sequence]);
    for (int token = begin; token < end; ++token) tokens.push_back(token);
  }
  return tokens;
}

}  // namespace sinkrouter::kernel_tests
