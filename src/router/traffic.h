#pragma once

#include <cstddef>
#include <cstdint>

namespace sinkrouter {

// Rows a list covers: its last granule may be cut by the length.
std::int64_t listed_rows(const std::int32_t* list, int count, int granule, int length);

// Bytes of K and V of `rows` rows of one KV head; with rows = length, what dense attention reads.
std::int64_t row_bytes(std::int64_t rows, int head_dim, std::size_t element_bytes);

// Bytes of the moments of every full block of one KV head: two codes per channel and a scale.
std::int64_t moments_bytes(int length, int head_dim);

}  // namespace sinkrouter
