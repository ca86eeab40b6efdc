// One thread's part of decode attention: spans of lists, tile after tile.
#if defined(SINKROUTER_KERNELS_CPU_DECODE_WALK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef SINKROUTER_KERNELS_CPU_DECODE_WALK_INL_H_
#undef SINKROUTER_KERNELS_CPU_DECODE_WALK_INL_H_
#else
#define SINKROUTER_KERNELS_CPU_DECODE_WALK_INL_H_
#endif

#include <numbers>
#include <utility>

#include "kernels/cpu/decode_tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace sinkrouter::cpu::HWY_NAMESPACE {

// Walks spans with an online softmax each. The keys of a tile are scored in the same steps as the
// values of the tile before it are mixed, across the border between spans too, so that memory is
// asked for both at a steady rate and never waits.
template <typename T, int kDim>
class SpanWalk {
 public:
  SpanWalk(const DecodeAttentionParams& params, const SpanFeed& feed, float* scratch)
      : params_(params),
        feed_(feed),
        heads_(params.q_heads / params.kv.kv_heads),
        mixing_(params.output != nullptr),
        keys_(static_cast<const T*>(params.kv.keys)),
        values_(static_cast<const T*>(params.kv.values)),
        scratch_(scratch, heads_, kDim) {}

  void run() {
    Tile* now = &tiles_[0];    // its values are mixed
    Tile* next = &tiles_[1];   // its keys are scored
    Tile* later = &tiles_[2];  // it is on its way to the cache
    locate(*next);
    locate(*later);
    float* weights = scratch_.scores[0];
    float* scores = scratch_.scores[1];
    while (now->rows > 0 || next->rows > 0) {
      if (next->rows > 0 && next->first) start(*next);
      int row = 0;
      for (; row < std::max(now->rows, next->rows); row += kStepRows) {
        score_step(*next, *later, row, scores);
        if (mixing_) mix_step(*now, *next, row, weights);
      }
      for (; row < later->rows; ++row) {
        fetch<kToSecondCache, kDim>(keys_ + later->offsets[row], 0);
      }
      if (next->rows > 0) soften_tile(*next, scores);
      if (now->rows > 0 && now->last) finish(*now);
      std::swap(weights, scores);
      std::swap(now, next);
      std::swap(next, later);
      locate(*later);
    }
  }

 private:
  struct Tile : RowTile {
    SpanPiece piece;
    SpanState state;
    bool first = false;  // of its span
    bool last = false;
  };

  // The next tile of rows, of the current span or the one after it.
  void locate(Tile& tile) {
    tile.rows = 0;
    tile.first = !open_;
    if (!open_) {
      if (!feed_.next(piece_)) return;
      open_ = true;
      at_ = piece_.span.begin;
      parity_ ^= 1;
    }
    locate_rows(params_, piece_.span, at_, tile);
    at_ += tile.rows;
    open_ = at_ < piece_.span.end;
    tile.last = !open_;
    tile.piece = piece_;
    tile.state = scratch_.states[parity_];
  }

  void start(const Tile& tile) {
    const RowSpan& span = tile.piece.span;
    const float* queries = params_.queries + (std::int64_t{span.sequence} * params_.q_heads +
                                              std::int64_t{span.kv_head} * heads_) *
                                                 kDim;
    const float scale = params_.scale * std::numbers::log2e_v<float>;
    for (int h = 0; h < heads_; ++h) {
      copy_to_pairs<T>(queries + h * kDim, kDim, scale, tile.state.queries + h * kDim);
    }
    const int padded = padded_heads(heads_);
    std::fill_n(tile.state.maximum, padded, kMinusInfinity);
    std::fill_n(tile.state.sums, padded * kLanes, 0.0f);
    if (mixing_) std::fill_n(tile.state.mixed, heads_ * kDim, 0.0f);
  }

  void finish(const Tile& tile) {
    const PartialView& partial = tile.piece.partial;
    for (int h = 0; h < heads_; ++h) {
      partial.maximum[h] = tile.state.maximum[h];
      partial.sum[h] = sum_of_lanes(load(tile.state.sums + h * kLanes));
      if (!mixing_) continue;
      copy_from_pairs<T>(tile.state.mixed + h * kDim, kDim, partial.mixed + h * kDim);
    }
    feed_.done(tile.piece);
  }

  // What to call for while rows from `row` on are used. Offsets past a tile's end may be stale,
  // but harmless to fetch.
  static Ahead<T> ahead(const T* base, const Tile& tile, const Tile& after, int row) {
    const auto later_by = [&](int rows) {
      return row + rows < kTileRows ? tile.offsets + row + rows
                                    : after.offsets + row + rows - kTileRows;
    };
    return {base, later_by(kTileRows), later_by(kMiddleRows), later_by(kNearRows)};
  }

  HWY_INLINE void score_step(const Tile& tile, const Tile& later, int begin, float* scores) {
    int row = begin;
    for (; row < std::min(begin + kStepRows, tile.rows); row += kDotRows) {
      const T* rows[kDotRows];
      for (int r = 0; r < kDotRows; ++r) rows[r] = keys_ + tile.offsets[row + r];
      const Ahead<T> coming = ahead(keys_, tile, later, row);
      const float* queries = tile.state.queries;
      float* to = scores + row;
      int h = 0;
      if (heads_ >= kDotVectors) {
        score_four<kDotVectors, kDim, true>(rows, queries, coming, to);
        h = kDotVectors;
      } else {
        score_four<1, kDim, true>(rows, queries, coming, to);
        h = 1;
      }
      for (; h + kDotVectors <= heads_; h += kDotVectors) {
        score_four<kDotVectors, kDim, false>(rows, queries + h * kDim, coming, to + h * kTileRows);
      }
      for (; h < heads_; ++h) {
        score_four<1, kDim, false>(rows, queries + h * kDim, coming, to + h * kTileRows);
      }
    }
    for (; row < std::min(begin + kStepRows, later.rows); ++row) {
      fetch<kToSecondCache, kDim>(keys_ + later.offsets[row], 0);
    }
  }

  HWY_INLINE void mix_step(const Tile& tile, const Tile& later, int begin, const float* weights) {
    const int count = std::clamp(tile.rows - begin, 0, kStepRows);
    if (count > 0) {
      const std::int64_t* offsets = tile.offsets + begin;
      const Ahead<T> coming = ahead(values_, tile, later, begin);
      const float* from = weights + begin;
      float* mixed = tile.state.mixed;
      int h = 0;
      if (heads_ >= kMixHeads) {
        mix_rows<kMixHeads, kDim, true>(values_, offsets, count, from, coming, mixed);
        h = kMixHeads;
      } else {
        mix_rows<1, kDim, true>(values_, offsets, count, from, coming, mixed);
        h = 1;
      }
      for (; h + kMixHeads <= heads_; h += kMixHeads) {
        mix_rows<kMixHeads, kDim, false>(values_, offsets, count, from + h * kTileRows, coming,
                                         mixed + h * kDim);
      }
      for (; h < heads_; ++h) {
        mix_rows<1, kDim, false>(values_, offsets, count, from + h * kTileRows, coming,
                                 mixed + h * kDim);
      }
    }
    for (int row = begin + count; row < std::min(begin + kStepRows, later.rows); ++row) {
      fetch<kToSecondCache, kDim>(values_ + later.offsets[row], 0);
    }
  }

  HWY_INLINE void soften_tile(const Tile& tile, float* scores) {
    for (int h = 0; h < heads_; h += kLanes) {
      soften<kDim>(scores + h * kTileRows, tile.rows, std::min(kLanes, heads_ - h),
                   tile.state.maximum + h, tile.state.sums + h * kLanes,
                   mixing_ ? tile.state.mixed + h * kDim : nullptr);
    }
  }

  static constexpr int kMixHeads = 4;
  static constexpr int kMiddleRows = 32;
  static constexpr int kNearRows = 8;

  const DecodeAttentionParams& params_;
  const SpanFeed& feed_;
  int heads_;
  bool mixing_;
  const T* keys_;
  const T* values_;
  SpanScratch scratch_;
  Tile tiles_[3];
  SpanPiece piece_;  // the one tiles are cut from
  std::int64_t at_ = 0;
  bool open_ = false;
  int parity_ = 0;
};

void attend_spans(const DecodeAttentionParams& params, const SpanFeed& feed, float* scratch) {
  visit_dtype<float, BFloat16, Float16>(params.kv.dtype, [&]<typename T>() {
    visit_int<64, 80, 96, 128>(params.kv.head_dim, [&]<int kDim>() {
      SpanWalk<T, kDim> walk(params, feed, scratch);
      walk.run();
    });
  });
}

}  // namespace sinkrouter::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
