#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/tensor_view.h"
#include "kv/batch_tables.h"
#include "kv/kv_cache.h"
#include "router/audit.h"
#include "sinkrouter/observation.h"
#include "sinkrouter/policy.h"
#include "sinkrouter/read_stats.h"

namespace sinkrouter {

// Memory a backend owns; given back on destruction.
class Buffer {
 public:
  virtual ~Buffer() = default;
  virtual void* data() = 0;
  virtual std::int64_t bytes() const = 0;
};

// New rows of one sequence for one layer, at positions first_position ... .
struct AppendRows {
  int layer = 0;
  SequenceId sequence;
  int first_position = 0;
  int tokens = 0;
  const float* keys = nullptr;    // [tokens, kv_heads, head_dim], post-RoPE, rows row_stride apart
  const float* values = nullptr;  // likewise
  std::int64_t row_stride = 0;    // elements
};

// One query row per q head and sequence, over what `policy` lists.
struct DecodeAttention {
  int layer = 0;
  int q_heads = 0;
  float scale = 0;
  const float* queries = nullptr;  // [sequences, q_heads, head_dim], post-RoPE
  const BatchTables* tables = nullptr;
  const PolicyOptions* policy = nullptr;
  float* output = nullptr;                      // [sequences, q_heads, head_dim]
  ReadStats* stats = nullptr;                   // added to
  Audit* audit = nullptr;                       // of margin's decisions; may be nullptr
  std::span<const SequenceId> ids;              // [sequences]; their pins change with an audit
  const AttentionObserver* observer = nullptr;  // may be nullptr
  const float* residual = nullptr;  // [sequences, hidden_size], for the observer; may be nullptr
  int hidden_size = 0;
};

// Queries of consecutive tokens of one sequence, whose rows are stored already.
struct PrefillAttention {
  int layer = 0;
  int q_heads = 0;
  float scale = 0;
  const float* queries = nullptr;  // [tokens, q_heads, head_dim], post-RoPE
  int first_position = 0;
  int tokens = 0;
  const BatchTables* tables = nullptr;  // of that one sequence
  float* output = nullptr;              // [tokens, q_heads, head_dim]
};

// The operations a model is made of, on one device. Activations are fp32, row-major, [tokens,
// width]. Calls are ordered; none allocates in steady state.
class Backend {
 public:
  virtual ~Backend() = default;

  virtual std::string description() const = 0;
  virtual std::unique_ptr<Buffer> allocate(std::int64_t bytes) = 0;

  // output[t] = table[ids[t]], table [vocab, width].
  virtual void embed(std::span<const std::int32_t> ids, const TensorView& table, float* output) = 0;
  // output = input normalised by its root mean square, times weight [width].
  virtual void rms_norm(const float* input, const TensorView& weight, int tokens, float epsilon,
                        float* output) = 0;
  // output (+)= input * weight^T, weight [outputs, inputs].
  virtual void linear(const float* input, const TensorView& weight, int tokens, bool accumulate,
                      float* output) = 0;
  virtual void rope(float* heads, std::span<const std::int32_t> positions,
                    std::span<const double> inverse_frequency, int heads_per_token,
                    int head_dim) = 0;
  // output = silu(gate) * up, all [tokens, width].
  virtual void swiglu(const float* gate, const float* up, int tokens, int width, float* output) = 0;

  // Stores rows, and the summaries of every block they fill.
  virtual void append(KvCache& cache, const AppendRows& rows) = 0;
  virtual void prefill_attention(const KvCache& cache, const PrefillAttention& call) = 0;
  // Finds the blocks outside the first and the last that the call's last queries look at most, for
  // each KV head, and pins them: sinks that are not at position 0.
  virtual void pin_sinks(KvCache& cache, SequenceId sequence, const PrefillAttention& call) = 0;
  virtual void decode_attention(KvCache& cache, const DecodeAttention& call) = 0;
};

std::unique_ptr<Backend> make_cpu_backend(int threads);

}  // namespace sinkrouter
