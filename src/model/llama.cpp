#include "model/llama.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <utility>

#include "base/dtype.h"

namespace sinkrouter {
namespace {

float* floats(const std::unique_ptr<Buffer>& buffer) { return static_cast<float*>(buffer->data()); }

template <typename Fn>
void for_each_tensor(const LlamaWeights& weights, bool tied, Fn&& fn) {
  fn(weights.embedding);
  fn(weights.final_norm);
  if (!tied) fn(weights.lm_head);
  for (const LlamaLayerWeights& layer : weights.layers) {
    for (const TensorView* tensor : {&layer.q, &layer.k, &layer.v, &layer.o, &layer.gate, &layer.up,
                                     &layer.down, &layer.input_norm, &layer.post_norm}) {
      fn(*tensor);
    }
  }
}

}  // namespace

Llama::Llama(Backend& backend, const LlamaConfig& config, LlamaWeights weights)
    : backend_(backend),
      config_(config),
      weights_(std::move(weights)),
      inverse_frequency_(inverse_frequencies(config)) {}

std::int64_t Llama::parameters() const {
  std::int64_t count = 0;
  for_each_tensor(weights_, config_.tied_embeddings,
                  [&](const TensorView& tensor) { count += tensor.elements(); });
  return count;
}

std::int64_t Llama::weight_bytes() const {
  std::int64_t count = 0;
  for_each_tensor(weights_, config_.tied_embeddings,
                  [&](const TensorView& tensor) { count += tensor.bytes(); });
  return count;
}

std::vector<float> Llama::output_projection(int layer, int q_head) const {
  const TensorView& weights = weights_.layers[static_cast<std::size_t>(layer)].o;
  const std::int64_t width = config_.head_dim;
  std::vector<float> columns;
  columns.reserve(static_cast<std::size_t>(config_.hidden_size * width));
  visit_dtype<float, BFloat16, Float16>(weights.dtype, [&]<typename T>() {
    for (int row = 0; row < config_.hidden_size; ++row) {
      const T* first = weights.as<T>() + row * weights.shape[1] + q_head * width;
      std::transform(first, first + width, std::back_inserter(columns),
                     [](T weight) { return to_float(weight); });
    }
  });
  return columns;
}

void Llama::reserve(int tokens) {
  if (tokens <= act_.tokens) return;
  const auto allocate = [&](std::int64_t width) {
    return backend_.allocate(width * tokens * static_cast<std::int64_t>(sizeof(float)));
  };
  const std::int64_t q_width = std::int64_t{config_.q_heads} * config_.head_dim;
  const std::int64_t kv_width = std::int64_t{config_.kv_heads} * config_.head_dim;
  act_.hidden = allocate(config_.hidden_size);
  act_.normed = allocate(config_.hidden_size);
  act_.query = allocate(q_width);
  act_.key = allocate(kv_width);
  act_.value = allocate(kv_width);
  act_.attended = allocate(q_width);
  act_.gate = allocate(config_.intermediate_size);
  act_.up = allocate(config_.intermediate_size);
  act_.tokens = tokens;
}

void Llama::forward(const LlamaBatch& batch, KvCache& cache) {
  const int tokens = static_cast<int>(batch.ids.size());
  SR_ASSERT(tokens > 0 && batch.positions.size() == batch.ids.size());
  SR_ASSERT(batch.sequences.size() == (batch.decoding() ? batch.ids.size() : 1));
  weights_.checkpoint->require_whole();
  reserve(tokens);
  batch_tokens_ = tokens;
  backend_.embed(batch.ids, weights_.embedding, floats(act_.hidden));
  for (int layer = 0; layer < config_.layers; ++layer) {
    attention_block(layer, batch, cache);
    feed_forward_block(layer, tokens);
  }
}

void Llama::attention_block(int layer, const LlamaBatch& batch, KvCache& cache) {
  const LlamaLayerWeights& weights = weights_.layers[static_cast<std::size_t>(layer)];
  const int tokens = batch_tokens_;
  float* normed = floats(act_.normed);
  backend_.rms_norm(floats(act_.hidden), weights.input_norm, tokens, config_.rms_norm_epsilon,
                    normed);
  backend_.linear(normed, weights.q, tokens, false, floats(act_.query));
  backend_.linear(normed, weights.k, tokens, false, floats(act_.key));
  backend_.linear(normed, weights.v, tokens, false, floats(act_.value));
  backend_.rope(floats(act_.query), batch.positions, inverse_frequency_, config_.q_heads,
                config_.head_dim);
  backend_.rope(floats(act_.key), batch.positions, inverse_frequency_, config_.kv_heads,
                config_.head_dim);
  append_rows(layer, batch, cache);
  attend(layer, batch, cache);
  backend_.linear(floats(act_.attended), weights.o, tokens, true, floats(act_.hidden));
}

void Llama::append_rows(int layer, const LlamaBatch& batch, KvCache& cache) {
  const std::int64_t kv_width = std::int64_t{config_.kv_heads} * config_.head_dim;
  const int runs = static_cast<int>(batch.sequences.size());
  for (int run = 0; run < runs; ++run) {
    AppendRows rows;
    rows.layer = layer;
    rows.sequence = batch.sequences[static_cast<std::size_t>(run)];
    rows.first_position = batch.positions[static_cast<std::size_t>(run)];
    rows.tokens = batch.decoding() ? 1 : batch_tokens_;
    rows.keys = floats(act_.key) + run * kv_width;
    rows.values = floats(act_.value) + run * kv_width;
    rows.row_stride = kv_width;
    backend_.append(cache, rows);
  }
}

void Llama::attend(int layer, const LlamaBatch& batch, KvCache& cache) {
  const float scale = 1.0f / std::sqrt(static_cast<float>(config_.head_dim));
  if (batch.decoding()) {
    DecodeAttention call;
    call.layer = layer;
    call.q_heads = config_.q_heads;
    call.scale = scale;
    call.queries = floats(act_.query);
    call.tables = batch.tables;
    call.policy = batch.policy;
    call.output = floats(act_.attended);
    call.stats = batch.stats;
    call.audit = batch.audit;
    call.ids = batch.sequences;
    call.observer = batch.observer;
    call.residual = floats(act_.hidden);
    call.hidden_size = config_.hidden_size;
    backend_.decode_attention(cache, call);
    return;
  }
  PrefillAttention call;
  call.layer = layer;
  call.q_heads = config_.q_heads;
  call.scale = scale;
  call.queries = floats(act_.query);
  call.first_position = batch.positions[0];
  call.tokens = batch_tokens_;
  call.tables = batch.tables;
  call.output = floats(act_.attended);
  backend_.prefill_attention(cache, call);
  if (batch.pin_sinks) backend_.pin_sinks(cache, batch.sequences[0], call);
}

void Llama::feed_forward_block(int layer, int tokens) {
  const LlamaLayerWeights& weights = weights_.layers[static_cast<std::size_t>(layer)];
  float* normed = floats(act_.normed);
  float* gate = floats(act_.gate);
  backend_.rms_norm(floats(act_.hidden), weights.post_norm, tokens, config_.rms_norm_epsilon,
                    normed);
  backend_.linear(normed, weights.gate, tokens, false, gate);
  backend_.linear(normed, weights.up, tokens, false, floats(act_.up));
  backend_.swiglu(gate, floats(act_.up), tokens, config_.intermediate_size, gate);
  backend_.linear(gate, weights.down, tokens, true, floats(act_.hidden));
}

std::span<const float> Llama::logits(int first, int count) {
  SR_ASSERT(first >= 0 && count > 0 && first + count <= batch_tokens_);
  if (count > logit_rows_) {
    const std::int64_t rows = count;
    const auto bytes = static_cast<std::int64_t>(sizeof(float));
    logit_input_ = backend_.allocate(rows * config_.hidden_size * bytes);
    logits_ = backend_.allocate(rows * config_.vocab_size * bytes);
    logit_rows_ = count;
  }
  const float* hidden = floats(act_.hidden) + std::int64_t{first} * config_.hidden_size;
  backend_.rms_norm(hidden, weights_.final_norm, count, config_.rms_norm_epsilon,
                    floats(logit_input_));
  backend_.linear(floats(logit_input_), weights_.lm_head, count, false, floats(logits_));
  return {floats(logits_), static_cast<std::size_t>(count) * config_.vocab_size};
}

}  // namespace sinkrouter
