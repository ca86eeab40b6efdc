#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

#include "kernels/params.h"

// What the parts of decode attention say to each other.
namespace sinkrouter::cpu {

inline constexpr int kTileRows = 64;
inline constexpr int kMostLanes = 16;

inline int padded_heads(int group) { return (group + kMostLanes - 1) / kMostLanes * kMostLanes; }

// Rows [begin, end) of one list, counted along the list.
struct RowSpan {
  int sequence = 0;
  int kv_head = 0;
  std::int64_t begin = 0;
  std::int64_t end = 0;
};

// Unnormalised attention over a span: weights are 2^(logit * log2(e) - maximum).
struct PartialView {
  float* maximum = nullptr;  // [group]
  float* sum = nullptr;      // [group]
  float* mixed = nullptr;    // [group, head_dim]
};

// One worker's memory while it walks a span; heads are rounded up to kMostLanes.
struct SpanScratch {
  SpanScratch(float* memory, int group, int head_dim)
      : queries(memory),
        mixed(queries + group * head_dim),
        maximum(mixed + group * head_dim),
        sums(maximum + padded_heads(group)) {}

  static std::int64_t floats(int group, int head_dim) {
    return std::int64_t{2} * group * head_dim +
           std::int64_t{padded_heads(group)} * (kMostLanes + 1);
  }

  float* queries;  // [group, head_dim], scaled
  float* mixed;    // [group, head_dim]
  float* maximum;  // [padded]
  float* sums;     // [padded, lanes]
};

// Offsets of up to kTileRows rows in elements; padded to a multiple of four with the last one.
struct RowTile {
  int rows = 0;
  std::int64_t offsets[kTileRows];
};

inline void locate_rows(const DecodeAttentionParams& params, const RowSpan& span,
                        std::int64_t begin, RowTile& tile) {
  tile.rows = static_cast<int>(std::clamp<std::int64_t>(span.end - begin, 0, kTileRows));
  if (tile.rows == 0) return;
  const KvView& kv = params.kv;
  const std::int64_t granule = params.lists.granule;
  const std::int32_t* list = params.lists.list(span.sequence, span.kv_head, kv.kv_heads);
  const std::int32_t* pages = kv.page_table + span.sequence * kv.page_table_stride;
  const std::int64_t head = span.kv_head * kv.head_stride;
  const int page_shift = std::countr_zero(static_cast<unsigned>(kv.page_size));
  const std::int64_t page_mask = kv.page_size - 1;
  if (granule == 1) {
    for (int row = 0; row < tile.rows; ++row) {
      const std::int64_t token = list[begin + row];
      tile.offsets[row] = pages[token >> page_shift] * kv.page_stride + head +
                          (token & page_mask) * kv.token_stride;
    }
  }
  std::int64_t at = begin / granule;
  std::int64_t skipped = begin % granule;
  for (int filled = granule == 1 ? tile.rows : 0; filled < tile.rows; ++at, skipped = 0) {
    const std::int64_t token = list[at] * granule + skipped;
    std::int64_t offset =
        pages[token >> page_shift] * kv.page_stride + head + (token & page_mask) * kv.token_stride;
    const int until =
        static_cast<int>(std::min<std::int64_t>(tile.rows, filled + granule - skipped));
    for (; filled < until; ++filled, offset += kv.token_stride) tile.offsets[filled] = offset;
  }
  for (int row = tile.rows; row % 4 != 0; ++row) tile.offsets[row] = tile.offsets[tile.rows - 1];
}

}  // namespace sinkrouter::cpu
