#include <cmath>

#include "base/check.h"
#include "eval/clock.h"
#include "eval/surprise.h"
#include "eval/tokens.h"
#include "sinkrouter/eval.h"

namespace sinkrouter {
namespace {

constexpr double kPrefillShare = 0.7;  // of a window's time, for the progress

double score_window(Engine& engine, Sequence& sequence, std::span<const int> window, int first,
                    PerplexityScore& score) {
  engine.reset_read_stats();
  const Clock clock;
  const double total = surprise(engine, sequence, window, first, score.policy);
  score.seconds += clock.seconds();
  score.reads = sum(score.reads, engine.read_stats());
  return total;
}

void check(const PerplexityOptions& options) {
  SR_CHECK(options.samples >= 1, kInvalidArgument, "samples is {}; it must be at least 1",
           options.samples);
  SR_CHECK(options.tokens >= 1 && options.tokens < options.context, kInvalidArgument,
           "tokens is {}; it must be between 1 and context - 1 = {}", options.tokens,
           options.context - 1);
}

}  // namespace

std::int64_t perplexity_capacity(const PerplexityOptions& options, int page_size) {
  return std::int64_t{options.context} + options.tokens + 4 * page_size;
}

PerplexityResult eval_perplexity(Engine& engine, std::span<const std::string> texts,
                                 const PerplexityOptions& options, const Progress& progress) {
  check(options);
  const std::vector<int> start = start_tokens(engine.tokenizer());
  const std::vector<int> tokens = text_tokens(engine.tokenizer(), texts);
  const std::span<const int> text = std::span(tokens).subspan(start.size());
  const std::int64_t needed = window_tokens(start, options.context);
  SR_CHECK(static_cast<std::int64_t>(text.size()) >= needed, kInvalidArgument,
           "the text holds {} tokens and a window needs {}; pass a longer --text", text.size(),
           needed);
  PerplexityResult result{.model = engine.info().name,
                          .device = engine.description(),
                          .context = options.context,
                          .samples = options.samples,
                          .tokens = options.tokens,
                          .dense = {.policy = {.kind = PolicyKind::kDense}}};
  for (const PolicyOptions& policy : options.policies)
    result.policies.push_back({.policy = policy});

  double dense_surprise = 0;
  std::vector<double> surprises(result.policies.size(), 0.0);
  const int first = options.context - options.tokens;
  for (int index = 0; index < options.samples; ++index) {
    const std::string label = fmt::format("window {} of {}", index + 1, options.samples);
    const auto report = [&](double share) {
      if (progress) progress(label, (index + share) / options.samples);
    };
    report(0);
    const std::vector<int> window =
        text_window(start, text, options.context, index, options.samples);

    const Clock clock;
    Sequence prefilled = engine.create_sequence();
    engine.prefill(prefilled, std::span(window).first(static_cast<std::size_t>(first)),
                   [&](std::int64_t done, std::int64_t total) {
                     report(kPrefillShare * static_cast<double>(done) / static_cast<double>(total));
                   });
    result.prefill_seconds += clock.seconds();

    const double share = (1 - kPrefillShare) / static_cast<double>(1 + surprises.size());
    Sequence dense = engine.fork(prefilled);
    dense_surprise += score_window(engine, dense, window, first, result.dense);
    dense = Sequence();
    report(kPrefillShare + share);
    for (std::size_t i = 0; i < surprises.size(); ++i) {
      Sequence routed = engine.fork(prefilled);
      surprises[i] += score_window(engine, routed, window, first, result.policies[i]);
      report(kPrefillShare + share * static_cast<double>(i + 2));
    }
  }
  const double scored = static_cast<double>(options.samples) * options.tokens;
  result.dense.perplexity = std::exp(dense_surprise / scored);
  for (std::size_t i = 0; i < surprises.size(); ++i) {
    result.policies[i].perplexity = std::exp(surprises[i] / scored);
  }
  return result;
}

}  // namespace sinkrouter
