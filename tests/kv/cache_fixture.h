#pragma once

#include <algorithm>
#include <cstring>
#include <random>
#include <span>
#include <vector>

#include "base/dtype.h"
#include "base/rng.h"
#include "kv/batch_tables.h"
#include "kv/kv_cache.h"

namespace sinkrouter::test {

inline KvCacheConfig small_config(DType dtype = DType::kBF16, int page_size = 64,
                                  std::int64_t capacity = 1024) {
  return {.layers = 2,
          .kv_heads = 3,
          .head_dim = 8,
          .dtype = dtype,
          .page_size = page_size,
          .capacity_tokens = capacity,
          .max_sequences = 8};
}

// One token's K and V of all layers and heads, as given to the cache.
struct TokenRows {
  std::vector<float> keys;    // [layers, kv_heads, head_dim]
  std::vector<float> values;  // likewise
};

inline TokenRows random_token(const KvCacheConfig& config, Rng& rng) {
  TokenRows token;
  const int size = config.layers * config.kv_heads * config.head_dim;
  for (int i = 0; i < size; ++i) {
    token.keys.push_back(rng.normal());
    token.values.push_back(rng.normal());
  }
  return token;
}

// What stands for the moments of a block here: a function of its stored keys.
inline std::uint8_t digest(const void* keys, std::size_t bytes) {
  unsigned sum = 7;
  const auto* p = static_cast<const unsigned char*>(keys);
  for (std::size_t i = 0; i < bytes; ++i) sum = sum * 31 + p[i];
  return static_cast<std::uint8_t>(sum >> 3);
}

inline std::size_t block_bytes(const KvCacheConfig& config) {
  return std::size_t{kBlockSize} * config.head_dim * size_in_bytes(config.dtype);
}

inline std::size_t sketch_codes_bytes(const KvCacheConfig& config) {
  return std::size_t{kBlockSize} * config.head_dim * config.sketch_bits / 8;
}

// Appends tokens as a backend does: rows of each layer, then the summaries of the blocks they fill.
inline void append(KvCache& cache, SequenceId id, std::span<const TokenRows> tokens) {
  const KvCacheConfig& config = cache.config();
  const int n = static_cast<int>(tokens.size());
  const int position = cache.length(id);
  const int row = config.kv_heads * config.head_dim;
  const int stride = row + 5;
  std::vector<float> keys(static_cast<std::size_t>(n) * stride);
  std::vector<float> values(keys.size());
  cache.reserve(id, n);
  for (int layer = 0; layer < config.layers; ++layer) {
    for (int t = 0; t < n; ++t) {
      std::copy_n(tokens[t].keys.begin() + layer * row, row, keys.begin() + t * stride);
      std::copy_n(tokens[t].values.begin() + layer * row, row, values.begin() + t * stride);
    }
    cache.store_rows(layer, id, position, n, keys.data(), values.data(), stride);
    const BlockRange blocks = filled_blocks(position, n);
    for (int head = 0; head < config.kv_heads; ++head) {
      for (int b = blocks.begin; b < blocks.end; ++b) {
        const BlockSlot slot = cache.block(layer, id, head, b);
        const std::uint8_t code = digest(slot.keys, block_bytes(config));
        std::memset(slot.codes, code, 2 * static_cast<std::size_t>(config.head_dim));
        *slot.scale = code;
        if (slot.box != nullptr) {
          std::fill_n(slot.box, 2 * config.head_dim, BFloat16{code});
        }
        if (config.sketch_bits == 0) continue;
        std::memset(slot.sketch_codes, code ^ 0x55, sketch_codes_bytes(config));
        std::fill_n(slot.sketch_scales, kBlockSize, Float16{code});
        if (config.sketch_bits == 4) std::fill_n(slot.sketch_misses, kBlockSize, Float16{code});
      }
    }
  }
  cache.commit(id, n);
}

// Address of a row through a view, as kernels compute it.
inline const std::byte* row_address(const KvView& view, const void* base, int sequence, int head,
                                    int token) {
  const std::int64_t page =
      view.page_table[sequence * view.page_table_stride + token / view.page_size];
  const std::int64_t elements = page * view.page_stride + head * view.head_stride +
                                (token % view.page_size) * view.token_stride;
  return static_cast<const std::byte*>(base) +
         elements * static_cast<std::int64_t>(size_in_bytes(view.dtype));
}

inline float stored(const std::byte* row, DType dtype, int channel) {
  switch (dtype) {
    case DType::kF32:
      return reinterpret_cast<const float*>(row)[channel];
    case DType::kBF16:
      return to_float(reinterpret_cast<const BFloat16*>(row)[channel]);
    default:
      return to_float(reinterpret_cast<const Float16*>(row)[channel]);
  }
}

inline float rounded(float x, DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return x;
    case DType::kBF16:
      return to_float(from_float<BFloat16>(x));
    default:
      return to_float(from_float<Float16>(x));
  }
}

inline bool same_float(float a, float b) {
  return std::isnan(a) ? std::isnan(b) : std::memcmp(&a, &b, sizeof(a)) == 0;
}

// Names the first difference between a sequence and the tokens it should hold; empty if none.
inline std::string difference(const KvCache& cache, SequenceId id,
                              const std::vector<TokenRows>& tokens) {
  const KvCacheConfig& config = cache.config();
  if (cache.length(id) != static_cast<int>(tokens.size())) return "length";
  BatchTables tables(cache, 1);
  tables.fill(cache, std::span(&id, 1), 0);
  const int row = config.kv_heads * config.head_dim;
  for (int layer = 0; layer < config.layers; ++layer) {
    const KvView view = cache.view(layer, tables);
    const MomentsView moments = cache.moments(layer);
    const SketchView sketches = cache.sketches(layer);
    const BoxesView boxes = cache.boxes(layer);
    if ((boxes.bounds != nullptr) != config.key_boxes) return "boxes";
    for (int t = 0; t < view.lengths[0]; ++t) {
      for (int i = 0; i < row; ++i) {
        const int head = i / config.head_dim;
        const int channel = i % config.head_dim;
        const float key = stored(row_address(view, view.keys, 0, head, t), view.dtype, channel);
        const float value = stored(row_address(view, view.values, 0, head, t), view.dtype, channel);
        const float want_key = rounded(tokens[t].keys[layer * row + i], view.dtype);
        const float want_value = rounded(tokens[t].values[layer * row + i], view.dtype);
        if (!same_float(key, want_key)) return "key of token " + std::to_string(t);
        if (!same_float(value, want_value)) return "value of token " + std::to_string(t);
      }
    }
    for (int b = 0; b < view.lengths[0] / kBlockSize; ++b) {
      for (int head = 0; head < config.kv_heads; ++head) {
        const int blocks_per_page = view.page_size / kBlockSize;
        const std::int64_t page = view.page_table[b / blocks_per_page];
        const std::int64_t entry =
            (page * config.kv_heads + head) * blocks_per_page + b % blocks_per_page;
        const std::uint8_t want =
            digest(row_address(view, view.keys, 0, head, b * kBlockSize), block_bytes(config));
        if (moments.scales[entry] != want) return "scale of block " + std::to_string(b);
        for (int i = 0; i < 2 * config.head_dim; ++i) {
          if (moments.codes[entry * 2 * config.head_dim + i] != want) {
            return "codes of block " + std::to_string(b);
          }
        }
        for (int i = 0; config.key_boxes && i < 2 * config.head_dim; ++i) {
          if (boxes.bounds[entry * 2 * config.head_dim + i].bits != want) {
            return "box of block " + std::to_string(b);
          }
        }
        if (config.sketch_bits == 0) continue;
        const std::size_t bytes = sketch_codes_bytes(config);
        const auto* sketch = reinterpret_cast<const std::uint8_t*>(sketches.codes) + entry * bytes;
        const bool codes_right = std::all_of(
            sketch, sketch + bytes, [&](std::uint8_t byte) { return byte == (want ^ 0x55); });
        const Float16* scales = sketches.scales + entry * kBlockSize;
        const bool scales_right = std::all_of(scales, scales + kBlockSize,
                                              [&](Float16 scale) { return scale.bits == want; });
        if (!codes_right || !scales_right) return "sketches of block " + std::to_string(b);
        if ((sketches.misses != nullptr) != (config.sketch_bits == 4)) return "misses";
        if (config.sketch_bits != 4) continue;
        const Float16* misses = sketches.misses + entry * kBlockSize;
        if (!std::all_of(misses, misses + kBlockSize,
                         [&](Float16 miss) { return miss.bits == want; })) {
          return "misses of block " + std::to_string(b);
        }
      }
    }
  }
  return "";
}

inline Error::Kind error_kind(auto&& action, std::string* message = nullptr) {
  try {
    action();
  } catch (const Error& error) {
    if (message != nullptr) *message = error.what();
    return error.kind();
  }
  throw std::logic_error("no Error was thrown");
}

}  // namespace sinkrouter::test
