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

// Bytes of the row sketches of `blocks` blocks of one KV head: codes and an fp16 scale a row.
std::int64_t sketch_bytes(int blocks, int head_dim, int bits);

// Of what bounds of the logits of `blocks` blocks are made of: row sketches, what they miss in
// fp16, and the block's mean with its scale.
std::int64_t bounds_bytes(int blocks, int head_dim, int bits);

// Bytes of the boxes of every full block of one KV head: two bf16 bounds a channel.
std::int64_t boxes_bytes(int length, int head_dim);

}  // namespace sinkrouter
