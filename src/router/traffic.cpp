#include "router/traffic.h"

#include "base/block_size.h"

namespace sinkrouter {

std::int64_t listed_rows(const std::int32_t* list, int count, int granule, int length) {
  if (count == 0) return 0;
  const std::int64_t rows = std::int64_t{count} * granule;
  const std::int64_t end = (std::int64_t{list[count - 1]} + 1) * granule;
  return end > length ? rows - (end - length) : rows;
}

std::int64_t row_bytes(std::int64_t rows, int head_dim, std::size_t element_bytes) {
  return rows * 2 * head_dim * static_cast<std::int64_t>(element_bytes);
}

std::int64_t moments_bytes(int length, int head_dim) {
  const std::int64_t block_bytes = 2 * std::int64_t{head_dim} + std::int64_t{sizeof(float)};
  return length / kBlockSize * block_bytes;
}

std::int64_t boxes_bytes(int length, int head_dim) {
  return length / kBlockSize * (2 * std::int64_t{head_dim} * 2);
}

std::int64_t sketch_bytes(int blocks, int head_dim, int bits) {
  const std::int64_t row_bytes = std::int64_t{head_dim} * bits / 8 + 2;
  return std::int64_t{blocks} * kBlockSize * row_bytes;
}

std::int64_t bounds_bytes(int blocks, int head_dim, int bits) {
  const std::int64_t mean_bytes = std::int64_t{head_dim} + std::int64_t{sizeof(float)};
  return sketch_bytes(blocks, head_dim, bits) +
         blocks * (kBlockSize * std::int64_t{2} + mean_bytes);
}

}  // namespace sinkrouter
