#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

#include "base/function_ref.h"
#include "kernels/params.h"

// What the parts of decode attention say to each other.
namespace sinkrouter::cpu {

inline constexpr int kTileRows = 128;
inline constexpr int kStepRows = 8;
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

struct SpanPiece {
  RowSpan span;  // not empty
  PartialView partial;
  std::int64_t list = 0;
  bool whole = false;  // the span is the whole list
};

// Where a thread gets its spans from and says that they are done, both in order.
struct SpanFeed {
  FunctionRef<bool(SpanPiece&)> next;
  FunctionRef<void(const SpanPiece&)> done;
};

// Running sums of one span; heads are rounded up to kMostLanes.
struct SpanState {
  float* queries = nullptr;  // [group, head_dim], scaled
  float* mixed = nullptr;    // [group, head_dim]
  float* maximum = nullptr;  // [padded]
  float* sums = nullptr;     // [padded, lanes]
};

// One thread's memory: the span being scored may be the one after the span being mixed.
struct SpanScratch {
  SpanScratch(float* memory, int group, int head_dim) {
    const int padded = padded_heads(group);
    for (SpanState& state : states) {
      state.queries = memory;
      state.mixed = state.queries + group * head_dim;
      state.maximum = state.mixed + group * head_dim;
      state.sums = state.maximum + padded;
      memory = state.sums + padded * kMostLanes;
    }
    for (float*& tile : scores) {
      tile = memory;
      memory += group * kTileRows;
    }
  }

  static std::int64_t floats(int group, int head_dim) {
    return std::int64_t{2} *
           (std::int64_t{2} * group * head_dim +
            std::int64_t{padded_heads(group)} * (kMostLanes + 1) + std::int64_t{group} * kTileRows);
  }

  SpanState states[2];
  float* scores[2];  // [group, kTileRows] each
};

// Offsets in elements of up to kTileRows rows; padded to a multiple of four with the last one.
struct RowTile {
  int rows = 0;
  std::int64_t offsets[kTileRows] = {};
};

inline void locate_rows(const DecodeAttentionParams& params, const RowSpan& span,
                        std::int64_t begin, RowTile& tile) {
  tile.rows = static_cast<int>(std::clamp<std::int64_t>(span.end - begin, 0, kTileRows));
  const KvView& kv = params.kv;
  const std::int64_t granule = params.lists.granule;
  const std::int32_t* list = params.lists.list(span.sequence, span.kv_head, kv.kv_heads);
  const std::int32_t* pages = kv.page_table + span.sequence * kv.page_table_stride;
  const std::int64_t head = span.kv_head * kv.head_stride;
  const int page_shift = std::countr_zero(static_cast<unsigned>(kv.page_size));
  const std::int64_t page_mask = kv.page_size - 1;
  const auto offset_of = [&](std::int64_t token) {
    return pages[token >> page_shift] * kv.page_stride + head +
           (token & page_mask) * kv.token_stride;
  };
  if (granule == 1) {
    for (int row = 0; row < tile.rows; ++row) tile.offsets[row] = offset_of(list[begin + row]);
  } else {
    std::int64_t at = begin / granule;
    std::int64_t skipped = begin % granule;
    for (int row = 0; row < tile.rows; ++at, skipped = 0) {
      std::int64_t offset = offset_of(list[at] * granule + skipped);
      const int until =
          static_cast<int>(std::min<std::int64_t>(tile.rows, row + granule - skipped));
      for (; row < until; ++row, offset += kv.token_stride) tile.offsets[row] = offset;
    }
  }
  for (int row = tile.rows; row % 4 != 0; ++row) tile.offsets[row] = tile.offsets[tile.rows - 1];
}

}  // namespace sinkrouter::cpu
