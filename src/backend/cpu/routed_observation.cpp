#include <algorithm>
#include <cmath>

#include "backend/cpu/routed_attention.h"
#include "backend/cpu/routed_step.h"
#include "base/dtype.h"
#include "kernels/cpu/cpu.h"

// Decisions shown to an observer.
namespace sinkrouter::cpu {
namespace {

float log_sum_exp(const float* logits, int count) {
  const double top = *std::max_element(logits, logits + count);
  double sum = 0;
  for (int i = 0; i < count; ++i) sum += std::exp(logits[i] - top);
  return static_cast<float>(top + std::log(sum));
}

class CachedRows : public ObservedRows {
 public:
  CachedRows(const KvView& kv, int sequence) : kv_(kv), sequence_(sequence) {}

  void copy_keys(int kv_head, std::span<float> rows) const override {
    copy(kv_.keys, kv_head, rows);
  }
  void copy_values(int kv_head, std::span<float> rows) const override {
    copy(kv_.values, kv_head, rows);
  }

 private:
  void copy(const void* data, int kv_head, std::span<float> rows) const {
    const int length = kv_.lengths[sequence_];
    SR_CHECK(kv_head >= 0 && kv_head < kv_.kv_heads &&
                 rows.size() == static_cast<std::size_t>(length) * kv_.head_dim,
             kInvalidArgument, "KV head {} into {} floats: expected 0 to {} and {} rows of {}",
             kv_head, rows.size(), kv_.kv_heads - 1, length, kv_.head_dim);
    visit_dtype<float, BFloat16, Float16>(kv_.dtype, [&]<typename T>() {
      float* out = rows.data();
      for (int row = 0; row < length; ++row, out += kv_.head_dim) {
        const T* stored = static_cast<const T*>(data) + row_offset(kv_, sequence_, kv_head, row);
        for (int i = 0; i < kv_.head_dim; ++i) out[i] = to_float(stored[i]);
      }
    });
  }

  const KvView& kv_;
  int sequence_;
};

}  // namespace

void RoutedAttention::observe(const Step& step) {
  const int kv_heads = step.kv.kv_heads;
  const int q_heads = step.call.q_heads;
  const auto width = static_cast<std::size_t>(q_heads) * step.kv.head_dim;
  observed_logits_.reserve(std::int64_t{q_heads} * step.capacity);
  observed_lse_.reserve(q_heads);
  for (int sequence = 0; sequence < step.sequences; ++sequence) {
    const int length = step.kv.lengths[sequence];
    KvView one = step.kv;
    one.sequences = 1;
    one.page_table += sequence * one.page_table_stride;
    one.lengths += sequence;
    RowLogitsParams params;
    params.queries = step.query(sequence, 0);
    params.q_heads = q_heads;
    params.scale = step.call.scale;
    params.kv = one;
    params.logits = observed_logits_.data();
    params.logit_stride = length;
    row_logits(params, threads_);
    for (int head = 0; head < q_heads; ++head) {
      observed_lse_[head] =
          log_sum_exp(observed_logits_.data() + std::int64_t{head} * length, length);
    }

    const CachedRows rows(step.kv, sequence);
    AttentionObservation seen;
    seen.sequence = sequence;
    seen.layer = step.call.layer;
    seen.length = length;
    const auto elements = static_cast<std::size_t>(q_heads) * static_cast<std::size_t>(length);
    seen.logits = {observed_logits_.data(), elements};
    seen.logit_stride = length;
    seen.lse = {observed_lse_.data(), static_cast<std::size_t>(q_heads)};
    seen.granule = step.lists.granule;
    seen.list_counts = {step.lists.counts + std::int64_t{sequence} * kv_heads,
                        static_cast<std::size_t>(kv_heads)};
    seen.list_stride = step.lists.capacity;
    seen.lists = {step.lists.list(sequence, 0, kv_heads),
                  static_cast<std::size_t>(kv_heads * step.lists.capacity)};
    seen.routed = {routed_.data() + std::int64_t{sequence} * kv_heads,
                   static_cast<std::size_t>(kv_heads)};
    seen.scale = step.call.scale;
    seen.queries = {step.query(sequence, 0), width};
    seen.output = {step.call.output + sequence * width, width};
    if (step.call.residual != nullptr) {
      const auto hidden = static_cast<std::size_t>(step.call.hidden_size);
      seen.residual = {step.call.residual + sequence * hidden, hidden};
    }
    seen.rows = &rows;
    (*step.call.observer)(seen);
  }
}

}  // namespace sinkrouter::cpu
