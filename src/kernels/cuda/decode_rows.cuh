#pragma once

#include <cstdint>

#include "kernels/cuda/decode_stages.cuh"

// How the rows of a list get to shared memory.
namespace sinkrouter::cuda {

// One warp's share of the tiles of a list: `first` and every kWarps-th after it. Looking up a row
// takes two dependent loads, of the list and of the page table; both are asked for tiles ahead of
// their use. A list with as many granules as the sequence has names them all, so it need not be
// read. Lanes i and i + 16 look after row i.
template <typename Stored, int kHeadDim, typename Shape>
class WarpRows {
  using Layout = StageLayout<Stored, kHeadDim, Shape>;

 public:
  // stages: this warp's; masks: this warp's words, one a stage.
  __device__ WarpRows(const DecodeParams& params, int list, int first_tile, int last_tile,
                      std::uint32_t stages, std::uint32_t* masks)
      : kv_(params.kv),
        granules_(params.lists.granules + list * params.lists.capacity),
        granule_(params.lists.granule),
        rows_(rows_of_list(params.lists, list)),
        last_tile_(last_tile),
        own_row_(static_cast<int>(threadIdx.x) % kTileRows),
        stages_(stages),
        masks_(masks),
        with_values_(params.output != nullptr) {
    const int sequence = list / kv_.kv_heads;
    const std::int64_t head = (list % kv_.kv_heads) * kv_.head_stride * kElementBytes;
    keys_ = static_cast<const char*>(kv_.keys) + head;
    values_ = static_cast<const char*>(kv_.values) + head;
    length_ = kv_.lengths[sequence];
    names_all_ = rows_ >= length_;
    pages_ = kv_.page_table + sequence * kv_.page_table_stride;
    granule_index_ = listed(first_tile);
    look_up(first_tile);
  }

  // Starts copying a tile, or nothing at or past the last; call for this warp's tiles in turn.
  __device__ void start_copy(int tile, int stage) {
    if (tile < last_tile_) {
      const unsigned wanted = __ballot_sync(kAllLanes, token_ >= 0) & 0xffffu;
      const std::int64_t offset =
          token_ < 0 ? 0 : page_ * kv_.page_stride + token_ % kv_.page_size * kv_.token_stride;
      copy(offset * kElementBytes, wanted, stages_ + stage * Layout::kStageBytes);
      if (threadIdx.x % 32 == 0) masks_[stage] = wanted;
      look_up(tile + Shape::kWarps);
    }
    commit_copies();
  }

 private:
  static constexpr int kElementBytes = static_cast<int>(sizeof(Stored));

  __device__ int listed(int tile) const {
    const int row = tile * kTileRows + own_row_;
    if (tile >= last_tile_ || row >= rows_) return -1;
    return names_all_ ? row / granule_ : granules_[row / granule_];
  }

  // Turns the granule that was asked for before into a token, asks for the token's page and for
  // the granule of the tile after.
  __device__ void look_up(int tile) {
    const int row = tile * kTileRows + own_row_;
    const std::int64_t token = std::int64_t{granule_index_} * granule_ + row % granule_;
    token_ = granule_index_ >= 0 && token < length_ ? static_cast<int>(token) : -1;
    page_ = token_ >= 0 ? pages_[token_ / kv_.page_size] : 0;
    granule_index_ = listed(tile + Shape::kWarps);
  }

  // Rows of one matrix together, then those of the other: neighbours in memory at the same time.
  __device__ void copy(std::int64_t offset, unsigned wanted, std::uint32_t to) const {
    copy_matrix(keys_, offset, wanted, to);
    if (with_values_) copy_matrix(values_, offset, wanted, to + Layout::kMatrixBytes);
  }

  __device__ static void copy_matrix(const char* rows, std::int64_t offset, unsigned wanted,
                                     std::uint32_t to) {
    constexpr int kCopies = kTileRows * Layout::kChunks;
    const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
    for (int i = 0; i < (kCopies + 31) / 32; ++i) {
      const int row = (i * 32 + lane) / Layout::kChunks;
      const int chunk = (i * 32 + lane) % Layout::kChunks;
      const std::int64_t from = __shfl_sync(kAllLanes, offset, row) + chunk * 16;
      if (kCopies % 32 != 0 && i * 32 + lane >= kCopies) continue;
      copy_async(to + row * Layout::kPitch + chunk * 16, rows + from, (wanted >> row & 1u) != 0);
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
  bool names_all_;
  int granule_index_;  // of the tile after the one that token_ and page_ are of; -1: none
  int token_ = -1;
  std::int64_t page_ = 0;
  std::uint32_t stages_;
  std::uint32_t* masks_;
  bool with_values_;
};

}  // namespace sinkrouter::cuda
