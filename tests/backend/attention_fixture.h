#pragma once

#include <cmath>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "backend/backend.h"
#include "base/rng.h"
#include "kv/batch_tables.h"

namespace sinkrouter::test {

// One layer of attention over keys and values that a test makes up.
class AttentionFixture {
 public:
  static constexpr int kDim = 64;

  AttentionFixture(int kv_heads, int group, int capacity, int sketch_bits = 2,
                   DType dtype = DType::kF32, int threads = 2, bool key_boxes = false)
      : kv_heads_(kv_heads),
        group_(group),
        cache_({.layers = 1,
                .kv_heads = kv_heads,
                .head_dim = kDim,
                .dtype = dtype,
                .sketch_bits = sketch_bits,
                .key_boxes = key_boxes,
                .capacity_tokens = capacity,
                .max_sequences = 4}),
        tables_(cache_, 4),
        backend_(make_cpu_backend(threads)) {}

  KvCache& cache() { return cache_; }
  Backend& backend() { return *backend_; }
  int q_heads() const { return kv_heads_ * group_; }
  static float scale() { return 1.0f / std::sqrt(static_cast<float>(kDim)); }

  // keys and values [tokens, kv_heads, kDim]
  void append(SequenceId id, std::span<const float> keys, std::span<const float> values) {
    const int row = kv_heads_ * kDim;
    const int tokens = static_cast<int>(keys.size()) / row;
    cache_.reserve(id, tokens);
    AppendRows rows;
    rows.sequence = id;
    rows.first_position = cache_.length(id);
    rows.tokens = tokens;
    rows.keys = keys.data();
    rows.values = values.data();
    rows.row_stride = row;
    backend_->append(cache_, rows);
    cache_.commit(id, tokens);
  }

  // queries [q_heads, kDim]; the output likewise.
  std::vector<float> decode(SequenceId id, std::span<const float> queries,
                            const PolicyOptions& policy, ReadStats* stats = nullptr,
                            const AttentionObserver* observer = nullptr, Audit* audit = nullptr) {
    tables_.fill(cache_, {&id, 1}, 0);
    std::vector<float> output(queries.size());
    DecodeAttention call;
    call.q_heads = q_heads();
    call.scale = scale();
    call.queries = queries.data();
    call.tables = &tables_;
    call.policy = &policy;
    call.output = output.data();
    call.stats = stats;
    call.audit = audit;
    call.ids = {&id, 1};
    call.observer = observer;
    backend_->decode_attention(cache_, call);
    return output;
  }

  // queries [tokens, q_heads, kDim] of the last tokens of the sequence.
  void pin_sinks(SequenceId id, std::span<const float> queries) {
    tables_.fill(cache_, {&id, 1}, 0);
    PrefillAttention call;
    call.q_heads = q_heads();
    call.scale = scale();
    call.queries = queries.data();
    call.tokens = static_cast<int>(queries.size()) / (q_heads() * kDim);
    call.first_position = cache_.length(id) - call.tokens;
    call.tables = &tables_;
    backend_->pin_sinks(cache_, id, call);
  }

  KvView view(SequenceId id) {
    tables_.fill(cache_, {&id, 1}, 0);
    return cache_.view(0, tables_);
  }

 private:
  int kv_heads_;
  int group_;
  KvCache cache_;
  BatchTables tables_;
  std::unique_ptr<Backend> backend_;
};

inline std::vector<float> normals(std::int64_t count, Rng& rng, float deviation = 1.0f) {
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& x : values) x = deviation * rng.normal();
  return values;
}

}  // namespace sinkrouter::test
