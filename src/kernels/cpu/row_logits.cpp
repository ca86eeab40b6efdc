#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/row_logits.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h, which includes this file once per instruction set.
#include <algorithm>

#include "base/check.h"
#include "kernels/cpu/dot-inl.h"
#include "kernels/paging.h"
#include "kernels/params.h"

HWY_BEFORE_NAMESPACE();
namespace sinkrouter::cpu::HWY_NAMESPACE {

template <typename T>
void score_rows_as(const RowLogitsParams& params, int sequence, int kv_head, int begin, int end) {
  constexpr int kHeadBlock = 16;
  const KvView& kv = params.kv;
  const int group = params.q_heads / kv.kv_heads;
  const std::int64_t first = std::int64_t{sequence} * params.q_heads + kv_head * group;
  float products[kHeadBlock * kDotRows];
  SR_ASSERT(begin % kDotRows == 0 &&
            kv.page_size % kDotRows == 0);  // so that a page holds them all
  for (int token = begin; token < end; token += kDotRows) {
    const int count = std::min(kDotRows, end - token);
    const T* rows[kDotRows];
    rows[0] = static_cast<const T*>(kv.keys) + row_offset(kv, sequence, kv_head, token);
    for (int r = 1; r < kDotRows; ++r) rows[r] = rows[r - 1] + (r < count ? kv.token_stride : 0);
    for (int head = 0; head < group; head += kHeadBlock) {
      const int heads = std::min(kHeadBlock, group - head);
      dot_rows(rows, params.queries + (first + head) * kv.head_dim, kv.head_dim, heads, kv.head_dim,
               products, kDotRows);
      for (int h = 0; h < heads; ++h) {
        float* logits = params.logits + (first + head + h) * params.logit_stride + token;
        for (int r = 0; r < count; ++r) logits[r] = params.scale * products[h * kDotRows + r];
      }
    }
  }
}

void score_rows(const RowLogitsParams& params, int sequence, int kv_head, int begin, int end) {
  visit_dtype<float, BFloat16, Float16>(params.kv.dtype, [&]<typename T>() {
    score_rows_as<T>(params, sequence, kv_head, begin, end);
  });
}

}  // namespace sinkrouter::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/spans.h"
#include "kernels/descriptors.h"

namespace sinkrouter::cpu {
namespace {
HWY_EXPORT(score_rows);
}  // namespace

void row_logits(const RowLogitsParams& params, ThreadPool& threads) {
  const KvView& kv = params.kv;
  require_kernel(KernelOp::kRowLogits, "cpu", kv.dtype, kv.head_dim, params.q_heads / kv.kv_heads);
  constexpr int kTokensPerTask = 1024;
  const SpanGrid grid(kv, 1, kTokensPerTask);
  threads.run(grid.tasks(), [&](int task, int) {
    const SpanGrid::Span span = grid.at(task);
    if (span.begin < span.end) {
      HWY_DYNAMIC_DISPATCH(score_rows)
      (params, span.sequence, span.kv_head, span.begin, span.end);
    }
  });
}

}  // namespace sinkrouter::cpu
#endif
