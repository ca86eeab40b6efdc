#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "sinkrouter/audit.h"
#include "sinkrouter/dtype.h"
#include "sinkrouter/observation.h"
#include "sinkrouter/pinned_sink.h"
#include "sinkrouter/policy.h"
#include "sinkrouter/read_stats.h"
#include "sinkrouter/tokenizer.h"

namespace sinkrouter {

enum class DeviceKind { kCpu, kCuda };

std::string_view name(DeviceKind device);        // "cpu", "cuda"
DeviceKind parse_device(std::string_view text);  // throws Error on an unknown name

struct EngineOptions {
  std::filesystem::path model;  // a Hugging Face directory
  DeviceKind device = DeviceKind::kCpu;
  int threads = 0;                   // 0: every core
  DType kv_dtype = DType::kBF16;     // f32, bf16 or f16
  int page_size = 64;                // tokens a page holds: 32, 64, 128 or 256
  std::int64_t capacity_tokens = 0;  // of the KV pool, shared pages counted once; 0: the model's
                                     // max_position_embeddings
  int max_sequences = 256;
  int sketch_bits = 2;     // of row sketches, 2, 4 or 0 for none; margin at granule 1 needs
                           // them, certified needs 4
  bool key_boxes = false;  // of the keys of each block; quest needs them
};

struct ModelInfo {
  std::string name;  // of the directory
  int layers = 0;
  int q_heads = 0;
  int kv_heads = 0;
  int head_dim = 0;
  int hidden_size = 0;
  int vocab_size = 0;
  int max_positions = 0;
  std::int64_t parameters = 0;
  std::int64_t weight_bytes = 0;
};

// A text's place in the KV cache. Move-only; gives its pages back when destroyed. Belongs to the
// engine that made it and must not outlive it.
class Sequence {
 public:
  Sequence();
  ~Sequence();
  Sequence(Sequence&&) noexcept;
  Sequence& operator=(Sequence&&) noexcept;
  Sequence(const Sequence&) = delete;
  Sequence& operator=(const Sequence&) = delete;

  int length() const;  // tokens in the cache

 private:
  friend class Engine;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Tokens done so far, tokens in all.
using PrefillProgress = std::function<void(std::int64_t done, std::int64_t total)>;
// Logits [tokens, vocab_size] of the tokens from `first` (an index into the call's tokens) on.
using LogitsSink = std::function<void(std::int64_t first, std::span<const float> logits)>;

// A loaded model with its KV cache. Calls on one engine must not overlap.
class Engine {
 public:
  // Throws Error when the directory is not a usable checkpoint or the options are out of range.
  explicit Engine(const EngineOptions& options);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  const ModelInfo& info() const;
  const EngineOptions& options() const;  // with defaults resolved
  const Tokenizer& tokenizer() const;
  std::string description() const;  // device, instruction set, threads

  Sequence create_sequence();
  // A sequence with the same content; shared pages are stored once.
  Sequence fork(const Sequence& sequence);

  // Appends tokens under dense attention and returns the last one's logits [vocab_size], valid
  // until the engine's next call. On Error the sequence is as it was.
  std::span<const float> prefill(Sequence& sequence, std::span<const int> tokens,
                                 const PrefillProgress& progress = {},
                                 const LogitsSink& all_logits = {});

  // Appends one token to each sequence under `policy`; returns logits [sequences, vocab_size],
  // valid until the engine's next call. Allocates nothing once a batch of this size has run.
  std::span<const float> decode(std::span<Sequence* const> sequences, std::span<const int> tokens,
                                const PolicyOptions& policy);

  const ReadStats& read_stats() const;
  void reset_read_stats();  // and what the audit saw
  // What the audit saw of the policy decoded with last.
  AuditSummary audit() const;
  // The sinks found so far, by layer, KV head and block.
  std::vector<PinnedSink> pinned_sinks(const Sequence& sequence) const;

  // What W_O makes of one q head's output: its columns, [hidden_size, head_dim].
  std::vector<float> output_projection(int layer, int q_head) const;

  // Called for every layer and sequence of each decode step until cleared with {}; makes decoding
  // compute every logit exactly as well, so it is slow.
  void set_attention_observer(AttentionObserver observer);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sinkrouter
