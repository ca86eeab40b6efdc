#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "backend/backend.h"
#include "model/config.h"
#include "model/weights.h"

namespace sinkrouter {

// Tokens to run through the model: either one token of each of several sequences (decode, under a
// policy) or consecutive tokens of one sequence (prefill, dense).
struct LlamaBatch {
  std::span<const std::int32_t> ids;        // [tokens]
  std::span<const std::int32_t> positions;  // [tokens]
  std::span<const SequenceId> sequences;    // decode: [tokens]; prefill: [1]
  const BatchTables* tables = nullptr;      // of those sequences, these tokens' rows included
  const PolicyOptions* policy = nullptr;    // decode only
  ReadStats* stats = nullptr;               // decode only
  Audit* audit = nullptr;                   // decode only
  bool pin_sinks = false;                   // prefill only: look where the last queries look
  const AttentionObserver* observer = nullptr;

  bool decoding() const { return policy != nullptr; }
};

// The Llama decoder (Llama 1 to 3.x, Yi, Vicuna): pre-norm blocks of grouped-query attention with
// RoPE and a SwiGLU feed-forward.
class Llama {
 public:
  // Keeps references: backend must outlive it; weights keep their files mapped.
  Llama(Backend& backend, const LlamaConfig& config, LlamaWeights weights);

  const LlamaConfig& config() const { return config_; }
  std::int64_t parameters() const;
  std::int64_t weight_bytes() const;

  // Columns of W_O, [hidden_size, head_dim].
  std::vector<float> output_projection(int layer, int q_head) const;

  // Runs the batch, storing its rows in `cache`. Afterwards logits() can be asked for any of its
  // tokens, until the next call. Throws Error when a file of the weights has been cut.
  void forward(const LlamaBatch& batch, KvCache& cache);

  // [count, vocab_size] for tokens first .. first + count - 1 of the last batch; valid until the
  // next call of either function.
  std::span<const float> logits(int first, int count);

 private:
  struct Activations {
    int tokens = 0;  // room for
    std::unique_ptr<Buffer> hidden, normed, query, key, value, attended, gate, up;
  };

  void reserve(int tokens);
  void attention_block(int layer, const LlamaBatch& batch, KvCache& cache);
  void append_rows(int layer, const LlamaBatch& batch, KvCache& cache);
  void attend(int layer, const LlamaBatch& batch, KvCache& cache);
  void feed_forward_block(int layer, int tokens);

  Backend& backend_;
  LlamaConfig config_;
  LlamaWeights weights_;
  std::vector<double> inverse_frequency_;  // [head_dim / 2]
  Activations act_;
  int batch_tokens_ = 0;
  int logit_rows_ = 0;
  std::unique_ptr<Buffer> logit_input_;  // [logit_rows_, hidden_size]
  std::unique_ptr<Buffer> logits_;       // [logit_rows_, vocab_size]
};

}  // namespace sinkrouter
