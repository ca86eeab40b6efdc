#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "backend/cpu/routed_attention.h"
#include "backend/cpu/routed_step.h"
#include "base/dtype.h"
#include "kernels/cpu/cpu.h"
#include "kernels/rounding.h"

// Policy certified: every row outside the kept set gets bounds.
namespace sinkrouter::cpu {
namespace {

template <typename T>
double norm(const T* values, int count) {
  double squares = 0;
  for (int i = 0; i < count; ++i) squares += double{to_float(values[i])} * to_float(values[i]);
  return std::sqrt(squares);
}

struct KeptKeys {
  double largest_norm = 0;  // NaN when a key has one
  std::int64_t rows = 0;
};

// blocks: the kept set's.
KeptKeys measure_keys(const KvView& kv, int sequence, int kv_head,
                      std::span<const std::int32_t> blocks) {
  KeptKeys keys;
  visit_dtype<float, BFloat16, Float16>(kv.dtype, [&]<typename T>() {
    for (const std::int32_t block : blocks) {
      const int end = std::min((block + 1) * kBlockSize, kv.lengths[sequence]);
      for (int row = block * kBlockSize; row < end; ++row, ++keys.rows) {
        const T* key = static_cast<const T*>(kv.keys) + row_offset(kv, sequence, kv_head, row);
        const double size = norm(key, kv.head_dim);
        if (size > keys.largest_norm || std::isnan(size)) keys.largest_norm = size;
      }
    }
  });
  return keys;
}

}  // namespace

// What the attention kernel found may be a little more than the truth; from here on it is not.
void RoutedAttention::certify_kept_lse(const Step& step) {
  const int kv_heads = step.kv.kv_heads;
  threads_.run(step.sequences * kv_heads, [&](int group, int) {
    const int sequence = group / kv_heads;
    const int kv_head = group % kv_heads;
    const KeptKeys keys = measure_keys(step.kv, sequence, kv_head,
                                       {step.blocks.list(sequence, kv_head, kv_heads),
                                        static_cast<std::size_t>(step.blocks.counts[group])});
    const std::int64_t head = step.first_head(sequence, kv_head);
    for (int member = 0; member < step.group; ++member) {
      const double lse = kept_lse_[head + member];
      const double reach =
          std::fabs(double{step.call.scale}) *
          norm(step.query(sequence, kv_head * step.group + member), step.kv.head_dim);
      const double floor = lse - lse_rounding(lse, keys.rows) -
                           (logit_rounding(step.kv.head_dim) * reach + 1e-30) * keys.largest_norm;
      kept_lse_[head + member] =
          std::nextafter(static_cast<float>(floor), -std::numeric_limits<float>::infinity());
    }
  });
}

void RoutedAttention::list_unkept_blocks(const Step& step) {
  const int kv_heads = step.kv.kv_heads;
  threads_.run(step.sequences * kv_heads, [&](int group, int) {
    const int sequence = group / kv_heads;
    const int kv_head = group % kv_heads;
    const KeptSet kept = step.kept(sequence, kv_head, kBlockSize);
    const int blocks = kept.tail_begin - kept.head_end;
    std::int32_t* list = step.blocks.list(sequence, kv_head, kv_heads);
    std::iota(list, list + blocks, kept.head_end);
    step.blocks.counts[group] = blocks;
    if (blocks > 0) sketch_group_queries(step, step.first_head(sequence, kv_head));
  });
}

void RoutedAttention::compute_row_bounds(const Step& step) {
  RowBoundsParams params;
  fill_sketched_rows(step, params);
  params.query_misses = query_misses_.data();
  params.lower = row_floors_.data();
  params.upper = row_scores_.data();
  row_bounds(params, threads_);
}

Selection RoutedAttention::select_from_bounds(const Step& step, int sequence, int kv_head,
                                              int worker) {
  const int kv_heads = step.kv.kv_heads;
  const std::int64_t head = step.first_head(sequence, kv_head);
  const RowBounds bounds{.lower = row_floors_.data() + head * step.capacity,
                         .upper = row_scores_.data() + head * step.capacity,
                         .stride = step.capacity,
                         .kept_lse = kept_lse_.data() + head,
                         .group = step.group};
  const auto blocks = static_cast<std::size_t>(step.blocks.counts[sequence * kv_heads + kv_head]);
  return select_certified(step.kept(sequence, kv_head, kBlockSize),
                          {step.blocks.list(sequence, kv_head, kv_heads), blocks}, bounds,
                          step.call.policy->epsilon, scratch_of(step, worker),
                          step.lists.list(sequence, kv_head, kv_heads));
}

}  // namespace sinkrouter::cpu
