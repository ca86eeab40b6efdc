#pragma once

#include <cstdint>

#include "kernels/cuda/decode_work.cuh"
#include "kernels/cuda/warp_mma.cuh"

// How the rows of a list get to shared memory.
namespace sinkrouter::cuda {

constexpr int kStages = 3;  // of a warp: one in use, the others on their way

// Rows lie kPitch bytes apart, an odd multiple of 16, so that eight of them meet no bank twice.
template <int kHeadDim>
struct StageLayout {
  static constexpr int kRowBytes = 2 * kHeadDim;
  static constexpr int kPitch = kRowBytes + 16;
  static constexpr int kMatrixBytes = kWarpRows * kPitch;  // keys, then values
  static constexpr int kStageBytes = 2 * kMatrixBytes;
  static constexpr int kWarpBytes = kStages * kStageBytes;
  static constexpr int kBlockBytes = kWarps * kWarpBytes;
};

// One warp's share of a list: kWarpRows rows of every tile. Looking up a row takes two dependent
// loads, of the list and of the page table; both are asked for tiles ahead of their use. Lanes i
// and i + 16 look after row i.
template <int kHeadDim>
class WarpRows {
  using Layout = StageLayout<kHeadDim>;

 public:
  __device__ WarpRows(const DecodeParams& params, int list, int first_tile, int last_tile,
                      std::uint32_t stages)
      : kv_(params.kv),
        granules_(params.lists.granules + list * params.lists.capacity),
        granule_(params.lists.granule),
        rows_(rows_of_list(params.lists, list)),
        last_tile_(last_tile),
        stages_(stages),
        with_values_(params.output != nullptr) {
    const int sequence = list / kv_.kv_heads;
    const std::int64_t head = (list % kv_.kv_heads) * kv_.head_stride * 2;
    keys_ = static_cast<const char*>(kv_.keys) + head;
    values_ = static_cast<const char*>(kv_.values) + head;
    length_ = __ldg(kv_.lengths + sequence);
    pages_ = kv_.page_table + sequence * kv_.page_table_stride;
    const int lane = static_cast<int>(threadIdx.x) % 32;
    own_row_ = static_cast<int>(threadIdx.x) / 32 * kWarpRows + lane % kWarpRows;
    granule_index_ = listed(first_tile);
    look_up(first_tile);
  }

  // Starts copying a tile, or nothing at or past the last; call for one tile after the other.
  __device__ void start_copy(int tile, int stage) {
    if (tile < last_tile_) {
      const unsigned wanted = __ballot_sync(kAllLanes, token_ >= 0) & 0xffffu;
      const std::int64_t offset =
          token_ < 0 ? 0 : page_ * kv_.page_stride + token_ % kv_.page_size * kv_.token_stride;
      copy(offset * 2, wanted, stages_ + stage * Layout::kStageBytes);
      wanted_ = (wanted_ << kWarpRows) | wanted;
      look_up(tile + 1);
    } else {
      wanted_ <<= kWarpRows;
    }
    commit_copies();
  }

  // Which rows of the tile that was started `ago` calls before the last one hold listed rows.
  __device__ unsigned listed_rows(int ago) const {
    return static_cast<unsigned>(wanted_ >> (kWarpRows * ago)) & 0xffffu;
  }

 private:
  __device__ int listed(int tile) const {
    const int row = tile * kTileRows + own_row_;
    return tile < last_tile_ && row < rows_ ? __ldg(granules_ + row / granule_) : -1;
  }

  // Turns the granule that was asked for before into a token, asks for the token's page and for
  // the granule of the tile after.
  __device__ void look_up(int tile) {
    const int row = tile * kTileRows + own_row_;
    const std::int64_t token = std::int64_t{granule_index_} * granule_ + row % granule_;
    token_ = granule_index_ >= 0 && token < length_ ? static_cast<int>(token) : -1;
    page_ = token_ >= 0 ? __ldg(pages_ + token_ / kv_.page_size) : 0;
    granule_index_ = listed(tile + 1);
  }

  __device__ void copy(std::int64_t offset, unsigned wanted, std::uint32_t to) const {
    constexpr int kChunks = Layout::kRowBytes / 16;
    static_assert(kWarpRows * kChunks % 32 == 0);
    const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
    for (int i = 0; i < kWarpRows * kChunks / 32; ++i) {
      const int row = (i * 32 + lane) / kChunks;
      const int chunk = (i * 32 + lane) % kChunks;
      const std::int64_t from = __shfl_sync(kAllLanes, offset, row) + chunk * 16;
      const bool is_wanted = (wanted >> row & 1u) != 0;
      const std::uint32_t at = to + row * Layout::kPitch + chunk * 16;
      copy_async(at, keys_ + from, is_wanted);
      if (with_values_) copy_async(at + Layout::kMatrixBytes, values_ + from, is_wanted);
    }
  }

  const KvView& kv_;
  const char* keys_;
  const char* values_;
  const std::int32_t* granules_;
  const std::int32_t* pages_;
  int granule_;
  int rows_;
  int last_tile_;
  int length_;
  int own_row_;
  int granule_index_;  // of the tile after the one that token_ and page_ are of; -1: none
  int token_ = -1;
  std::int64_t page_ = 0;
  std::uint32_t stages_;
  std::uint64_t wanted_ = 0;  // 16 bits a tile, the latest lowest
  bool with_values_;
};

}  // namespace sinkrouter::cuda
