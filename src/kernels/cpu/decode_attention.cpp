#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/decode_attention.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h, which includes this file once per instruction set.
#include "kernels/cpu/decode_walk-inl.h"

#if HWY_ONCE
#include <atomic>
#include <bit>
#include <cmath>
#include <limits>
#include <numbers>

#include "base/check.h"
#include "kernels/cpu/cpu.h"
#include "kernels/descriptors.h"
#include "kernels/paging.h"

namespace sinkrouter::cpu {
namespace {

HWY_EXPORT(attend_spans);

constexpr int kRangesPerThread = 8;      // uneven cores even out
constexpr std::int64_t kFewRows = 384;   // a shorter range pays for its own beginning and end
constexpr std::int64_t kLeastRows = 64;  // a range shorter than this is not worth a thread
constexpr std::int64_t kAlignment = 64;
constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

std::int64_t parts(std::int64_t whole, std::int64_t part) { return (whole + part - 1) / part; }

std::int64_t aligned(std::int64_t bytes) { return parts(bytes, kAlignment) * kAlignment; }

std::int64_t partial_bytes(int group, int head_dim) {
  return aligned(std::int64_t{group} * (head_dim + 2) * static_cast<std::int64_t>(sizeof(float)));
}

std::int64_t scratch_bytes(int group, int head_dim) {
  return aligned(SpanScratch::floats(group, head_dim) * static_cast<std::int64_t>(sizeof(float)));
}

std::int64_t starts_bytes(std::int64_t lists) {
  return aligned((lists + 1) * static_cast<std::int64_t>(sizeof(std::int64_t)));
}

// All lists laid end to end and cut into equal ranges, whatever their lengths. A list inside one
// range goes straight to the output; the pieces of a list that was cut wait in the workspace: a
// range has at most two of them, its first and its last.
class Plan {
 public:
  Plan(const DecodeAttentionParams& params, int threads)
      : params_(params),
        group_(params.q_heads / params.kv.kv_heads),
        lists_(std::int64_t{params.kv.sequences} * params.kv.kv_heads) {
    auto* bytes = static_cast<std::byte*>(params.workspace);
    starts_ = reinterpret_cast<std::int64_t*>(bytes);
    scratch_ = bytes + starts_bytes(lists_);
    partials_ = scratch_ + threads * scratch_bytes(group_, params.kv.head_dim);
    starts_[0] = 0;
    for (std::int64_t list = 0; list < lists_; ++list) {
      starts_[list + 1] =
          starts_[list] + list_rows(params.lists, sequence_of(list), head_of(list), params.kv);
    }
    const std::int64_t most = threads == 1 ? 1 : std::int64_t{threads} * kRangesPerThread;
    const std::int64_t for_all = std::min<std::int64_t>(threads, parts(total_rows(), kLeastRows));
    const std::int64_t wanted = std::clamp(parts(total_rows(), kFewRows), for_all, most);
    range_rows_ =
        parts(parts(total_rows(), std::max<std::int64_t>(1, wanted)), kStepRows) * kStepRows;
    ranges_ = static_cast<int>(parts(total_rows(), std::max<std::int64_t>(1, range_rows_)));
    reserved_ = static_cast<int>(most);
  }

  int ranges() const { return ranges_; }

  // Works on ranges taken from the common stock until it is empty. They follow one another without
  // a pause in reading memory, so that they can be short.
  void run_worker(std::atomic<int>& stock, int worker) const {
    int range = 0;
    std::int64_t end = 0;
    std::int64_t list = lists_;
    const auto next = [&](SpanPiece& piece) {
      if (list == lists_ || starts_[list] >= end) {
        range = stock.fetch_add(1, std::memory_order_relaxed);
        if (range >= ranges_) return false;
        end = std::min(total_rows(), (range + 1) * range_rows_);
        list = list_at(range * range_rows_);
      }
      const std::int64_t begin = range * range_rows_;
      const std::int64_t from = std::max(begin, starts_[list]);
      const std::int64_t to = std::min(end, starts_[list + 1]);
      piece.span = {sequence_of(list), head_of(list), from - starts_[list], to - starts_[list]};
      piece.list = list;
      piece.whole = from == starts_[list] && to == starts_[list + 1];
      piece.partial =
          piece.whole ? slot(2 * reserved_ + worker) : slot(2 * range + (from == begin ? 0 : 1));
      do ++list;
      while (list < lists_ && starts_[list] == starts_[list + 1]);
      return true;
    };
    const auto done = [&](const SpanPiece& piece) {
      if (piece.whole) finish(piece.list, piece.partial);
    };
    auto* scratch =
        reinterpret_cast<float*>(scratch_ + worker * scratch_bytes(group_, params_.kv.head_dim));
    HWY_DYNAMIC_DISPATCH(attend_spans)(params_, {next, done}, scratch);
  }

  // Outputs of the lists that were cut, and of the empty ones.
  void run_rest() const {
    for (std::int64_t list = 0; list < lists_; ++list) {
      const std::int64_t begin = starts_[list];
      const std::int64_t end = starts_[list + 1];
      if (begin == end) finish_empty(list);
      if (begin == end || begin / range_rows_ == (end - 1) / range_rows_) continue;
      merge(list, static_cast<int>(begin / range_rows_), static_cast<int>((end - 1) / range_rows_));
    }
  }

 private:
  int sequence_of(std::int64_t list) const { return static_cast<int>(list / params_.kv.kv_heads); }
  int head_of(std::int64_t list) const { return static_cast<int>(list % params_.kv.kv_heads); }
  std::int64_t total_rows() const { return starts_[lists_]; }
  std::int64_t list_at(std::int64_t row) const {
    return std::upper_bound(starts_, starts_ + lists_ + 1, row) - starts_ - 1;
  }

  PartialView slot(std::int64_t index) const {
    auto* floats =
        reinterpret_cast<float*>(partials_ + index * partial_bytes(group_, params_.kv.head_dim));
    return {floats, floats + group_, floats + 2 * group_};
  }

  // q head 0 of a list's group among all of them.
  std::int64_t first_row(std::int64_t list) const {
    return std::int64_t{sequence_of(list)} * params_.q_heads + head_of(list) * group_;
  }

  // Adds the later pieces to the first one, in order, and finishes from there.
  void merge(std::int64_t list, int first_range, int last_range) const {
    const int head_dim = params_.kv.head_dim;
    const bool starts_range = starts_[list] == first_range * range_rows_;
    const PartialView total = slot(2 * first_range + (starts_range ? 0 : 1));
    for (int range = first_range + 1; range <= last_range; ++range) {
      const PartialView piece = slot(2 * range);
      for (int h = 0; h < group_; ++h) {
        const float maximum = std::fmax(total.maximum[h], piece.maximum[h]);
        const float base = maximum == kMinusInfinity ? 0.0f : maximum;
        const float keep = std::exp2(total.maximum[h] - base);
        const float add = std::exp2(piece.maximum[h] - base);
        total.maximum[h] = maximum;
        total.sum[h] = total.sum[h] * keep + piece.sum[h] * add;
        if (params_.output == nullptr) continue;
        for (int c = h * head_dim; c < (h + 1) * head_dim; ++c) {
          total.mixed[c] = total.mixed[c] * keep + piece.mixed[c] * add;
        }
      }
    }
    finish(list, total);
  }

  void finish(std::int64_t list, const PartialView& partial) const {
    const int head_dim = params_.kv.head_dim;
    for (int h = 0; h < group_; ++h) {
      const std::int64_t row = first_row(list) + h;
      if (params_.lse != nullptr) {
        params_.lse[row] =
            (partial.maximum[h] + std::log2(partial.sum[h])) * std::numbers::ln2_v<float>;
      }
      if (params_.output == nullptr) continue;
      const float inverse = 1.0f / partial.sum[h];
      for (int c = 0; c < head_dim; ++c) {
        params_.output[row * head_dim + c] = partial.mixed[h * head_dim + c] * inverse;
      }
    }
  }

  void finish_empty(std::int64_t list) const {
    const std::int64_t row = first_row(list);
    if (params_.lse != nullptr) std::fill_n(params_.lse + row, group_, kMinusInfinity);
    if (params_.output != nullptr) {
      std::fill_n(params_.output + row * params_.kv.head_dim, group_ * params_.kv.head_dim, 0.0f);
    }
  }

  const DecodeAttentionParams& params_;
  int group_;
  std::int64_t lists_;
  std::int64_t* starts_ = nullptr;  // [lists + 1]
  std::byte* scratch_ = nullptr;    // [threads]
  std::byte* partials_ = nullptr;   // [2 * reserved + threads] partials
  std::int64_t range_rows_ = 0;
  int ranges_ = 0;
  int reserved_ = 0;
};

}  // namespace

std::int64_t decode_attention_workspace(int sequences, int q_heads, int kv_heads, int head_dim,
                                        int threads) {
  const std::int64_t partials = std::int64_t{threads} * (2 * kRangesPerThread + 1);
  const int group = q_heads / kv_heads;
  return starts_bytes(std::int64_t{sequences} * kv_heads) +
         threads * scratch_bytes(group, head_dim) + partials * partial_bytes(group, head_dim);
}

void decode_attention(const DecodeAttentionParams& params, ThreadPool& threads) {
  const KvView& kv = params.kv;
  SR_ASSERT(kv.kv_heads > 0 && params.q_heads % kv.kv_heads == 0);
  SR_ASSERT(kv.page_size > 0 && std::has_single_bit(static_cast<unsigned>(kv.page_size)));
  SR_ASSERT(params.lists.granule > 0 && kv.page_size % params.lists.granule == 0);
  SR_ASSERT(params.workspace_bytes >= decode_attention_workspace(kv.sequences, params.q_heads,
                                                                 kv.kv_heads, kv.head_dim,
                                                                 threads.size()));
  require_kernel(KernelOp::kDecodeAttention, "cpu", kv.dtype, kv.head_dim,
                 params.q_heads / kv.kv_heads);
  const Plan plan(params, threads.size());
  std::atomic<int> stock{0};
  threads.run(std::min(threads.size(), plan.ranges()),
              [&](int, int worker) { plan.run_worker(stock, worker); });
  plan.run_rest();
}

}  // namespace sinkrouter::cpu
#endif
