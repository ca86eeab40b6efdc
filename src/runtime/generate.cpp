#include "sinkrouter/generate.h"

#include <algorithm>
#include <chrono>

#include "base/check.h"
#include "runtime/stop_text.h"

namespace sinkrouter {
namespace {

bool ends_text(const Tokenizer& tokenizer, int token) {
  const std::span<const int> stops = tokenizer.stop_ids();
  return std::find(stops.begin(), stops.end(), token) != stops.end();
}

ReadStats difference(const ReadStats& after, const ReadStats& before) {
  ReadStats reads;
  reads.tokens = after.tokens - before.tokens;
  reads.router_bytes = after.router_bytes - before.router_bytes;
  reads.attention_bytes = after.attention_bytes - before.attention_bytes;
  reads.dense_bytes = after.dense_bytes - before.dense_bytes;
  reads.decisions = after.decisions - before.decisions;
  reads.routed_decisions = after.routed_decisions - before.routed_decisions;
  return reads;
}

}  // namespace

std::string_view name(FinishReason reason) {
  switch (reason) {
    case FinishReason::kLength:
      return "length";
    case FinishReason::kEos:
      return "eos";
    case FinishReason::kStopText:
      return "stop";
    case FinishReason::kCancelled:
      return "cancelled";
  }
  SR_ASSERT(false);
}

GenerateResult generate(Engine& engine, Sequence& sequence, std::span<const float> logits,
                        const GenerateOptions& options, const TextSink& on_text) {
  using Clock = std::chrono::steady_clock;
  SR_CHECK(options.max_tokens >= 1, kInvalidArgument,
           "max-tokens {} is out of range: expected 1 or more", options.max_tokens);
  GenerateResult result;
  Sampler sampler(options.sampling, engine.info().vocab_size);
  StreamDecoder decoder(engine.tokenizer());
  StopTextFilter filter(options.stop_texts);
  const ReadStats before = engine.read_stats();
  Sequence* one = &sequence;
  bool going = true;
  const auto emit = [&](std::string_view text) {
    const std::string certain = filter.push(text);
    result.text += certain;
    if (!certain.empty() && on_text && !on_text(certain)) {
      result.finish = FinishReason::kCancelled;
      going = false;
    } else if (filter.stopped()) {
      result.finish = FinishReason::kStopText;
      going = false;
    }
  };

  while (going) {
    const int token = sampler.sample(logits);
    if (options.stop_at_eos && ends_text(engine.tokenizer(), token)) {
      result.finish = FinishReason::kEos;
      break;
    }
    result.tokens.push_back(token);
    emit(decoder.push(token));
    if (static_cast<int>(result.tokens.size()) >= options.max_tokens) break;
    if (!going) break;
    const auto start = Clock::now();
    logits = engine.decode({&one, 1}, {&token, 1}, options.policy);
    result.decode_seconds += std::chrono::duration<double>(Clock::now() - start).count();
    ++result.decode_steps;
  }
  if (result.finish != FinishReason::kCancelled && result.finish != FinishReason::kStopText) {
    const FinishReason finish = result.finish;
    emit(decoder.flush());
    const std::string rest = filter.flush();
    result.text += rest;
    if (!rest.empty() && on_text) on_text(rest);
    if (result.finish != FinishReason::kStopText) result.finish = finish;
  }
  result.reads = difference(engine.read_stats(), before);
  return result;
}

}  // namespace sinkrouter
