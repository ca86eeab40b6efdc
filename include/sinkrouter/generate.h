#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sinkrouter/engine.h"

namespace sinkrouter {

struct SamplingOptions {
  float temperature = 0.0f;  // 0: greedy
  int top_k = 0;             // 0: off
  float top_p = 1.0f;        // 1: off
  std::uint64_t seed = 0;
};

// Throws Error naming the option and its range.
void validate(const SamplingOptions& options);

// Draws tokens from logits; the same seed and logits give the same tokens everywhere.
class Sampler {
 public:
  Sampler(const SamplingOptions& options, int vocab_size);
  ~Sampler();
  Sampler(Sampler&&) noexcept;
  Sampler& operator=(Sampler&&) noexcept;

  int sample(std::span<const float> logits);  // [vocab_size]

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

struct GenerateOptions {
  PolicyOptions policy;
  SamplingOptions sampling;
  int max_tokens = 128;
  bool stop_at_eos = true;
  std::vector<std::string> stop_texts;  // generation ends before the first that appears
};

enum class FinishReason { kLength, kEos, kStopText, kCancelled };
std::string_view name(FinishReason reason);  // "length", "eos", "stop", "cancelled"

struct GenerateResult {
  std::string text;
  std::vector<int> tokens;
  FinishReason finish = FinishReason::kLength;
  double decode_seconds = 0;  // from the first decode step to the last
  int decode_steps = 0;
  ReadStats reads;  // of this generation only

  double tokens_per_second() const {
    return decode_seconds > 0 ? decode_steps / decode_seconds : 0;
  }
};

// Receives text as soon as it is certain (never part of a character); return false to stop.
using TextSink = std::function<bool(std::string_view text)>;

// Continues a prefilled sequence whose last token's logits are `logits`.
GenerateResult generate(Engine& engine, Sequence& sequence, std::span<const float> logits,
                        const GenerateOptions& options, const TextSink& on_text = {});

}  // namespace sinkrouter
