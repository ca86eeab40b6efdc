#include "sinkrouter/drift.h"

#include <string_view>
#include <utility>

#include "base/check.h"
#include "base/rng.h"
#include "eval/drift/segments.h"
#include "eval/needle_wordings.h"
#include "eval/observer_guard.h"
#include "eval/row_masses.h"
#include "eval/tokens.h"

namespace sinkrouter {
namespace {

constexpr double kPrefillShare = 0.3;  // of the time, for the progress
constexpr int kFactsAtOnce = 8;

struct Piece {
  std::string_view kind;
  std::vector<int> tokens;
};

// Adds up the decisions of one step.
class StepMeter {
 public:
  StepMeter(const ModelInfo& model, int most_rows, float epsilon)
      : kv_heads_(model.kv_heads),
        group_(model.q_heads / model.kv_heads),
        decisions_(static_cast<double>(model.layers) * model.q_heads),
        epsilon_(epsilon),
        masses_(most_rows) {}

  void observe(const AttentionObservation& seen) {
    for (int kv_head = 0; kv_head < kv_heads_; ++kv_head) {
      step_.rows_read +=
          group_ / decisions_ * static_cast<double>(rows_on_list(seen, kv_head)) / seen.length;
      for (int member = 0; member < group_; ++member) {
        masses_.fill(seen, kv_head * group_ + member);
        const double unread = masses_.unread(seen, kv_head);
        step_.unread_mass += unread / decisions_;
        step_.violation_rate += unread > epsilon_ ? 1 / decisions_ : 0;
      }
    }
  }

  DriftStep take() { return std::exchange(step_, {}); }

 private:
  int kv_heads_;
  int group_;
  double decisions_;
  float epsilon_;
  RowMasses masses_;
  DriftStep step_;
};

double mean_tightening(const AuditSummary& audit) {
  double total = 0;
  for (const AuditedHead& head : audit.heads) total += head.tightening;
  return audit.heads.empty() ? 1.0 : total / static_cast<double>(audit.heads.size());
}

std::vector<int> cut(std::span<const int> tokens, int first, int count, std::string_view kind) {
  SR_CHECK(static_cast<std::int64_t>(tokens.size()) >= std::int64_t{first} + count,
           kInvalidArgument, "the text of {} has {} tokens and {} are needed; pass a longer one",
           kind, tokens.size(), std::int64_t{first} + count);
  const auto begin = tokens.begin() + first;
  return {begin, begin + count};
}

// Facts, and the questions about them with their answers.
std::vector<int> fact_tokens(const Tokenizer& tokenizer, int count, Rng& rng) {
  const Wordings wordings = standard_wordings();
  std::vector<int> tokens;
  while (static_cast<int>(tokens.size()) < count) {
    const std::vector<Fact> facts = wordings.draw(wordings.in_set("standard"), kFactsAtOnce, rng);
    std::string text;
    for (const Fact& fact : facts) text += wordings.fact_line(fact);
    for (const Fact& fact : facts) text += wordings.question(fact) + wordings.answer(fact);
    const std::vector<int> more = plain_tokens(tokenizer, text);
    tokens.insert(tokens.end(), more.begin(), more.end());
  }
  tokens.resize(static_cast<std::size_t>(count));
  return tokens;
}

void check(const SuiteTexts& texts, const DriftOptions& options) {
  SR_CHECK(options.context >= 64, kInvalidArgument, "context is {}; it must be at least 64",
           options.context);
  SR_CHECK(options.tokens >= kDriftSettling + kDriftWindow, kInvalidArgument,
           "tokens is {}; it must be at least {}", options.tokens, kDriftSettling + kDriftWindow);
  SR_CHECK(!texts.code.empty(), kInvalidArgument,
           "there is no program code to change to; pass some with --code");
}

}  // namespace

std::int64_t drift_capacity(const DriftOptions& options, int page_size) {
  return std::int64_t{options.context} + std::int64_t{5} * options.tokens + page_size;
}

DriftResult eval_drift(Engine& engine, const SuiteTexts& texts, const DriftOptions& options,
                       const Progress& progress) {
  check(texts, options);
  const Tokenizer& tokenizer = engine.tokenizer();
  const std::vector<int> prose = text_tokens(tokenizer, texts.prose);
  const std::vector<int> code = text_tokens(tokenizer, texts.code);
  const int start = static_cast<int>(start_tokens(tokenizer).size());
  const int n = options.tokens;
  Rng rng(options.seed);
  const std::vector<int> prefilled = cut(prose, 0, options.context, "prose");
  const Piece pieces[] = {
      {"prose", cut(prose, options.context, n, "prose")},
      {"code", cut(code, start, n, "code")},
      {"facts", fact_tokens(tokenizer, n, rng)},
      {"one token", std::vector<int>(static_cast<std::size_t>(n), prefilled.back())},
      {"prose", cut(prose, options.context + n, n, "prose")},
  };
  const int steps = n * static_cast<int>(std::size(pieces));

  DriftResult result{.model = engine.info(),
                     .device = engine.description(),
                     .policy = options.policy,
                     .context = options.context};
  const auto report = [&](std::string_view what, double done) {
    if (progress) progress(what, done);
  };
  Sequence sequence = engine.create_sequence();
  engine.prefill(sequence, prefilled, [&](std::int64_t done, std::int64_t total) {
    report("prefill", kPrefillShare * static_cast<double>(done) / static_cast<double>(total));
  });
  engine.reset_read_stats();
  StepMeter meter(result.model, options.context + steps, options.policy.epsilon);
  const ObserverGuard guard(engine, [&](const AttentionObservation& seen) { meter.observe(seen); });
  Sequence* const sequences[] = {&sequence};
  for (const Piece& piece : pieces) {
    DriftSegment segment{.kind = std::string(piece.kind),
                         .first = static_cast<int>(result.steps.size()),
                         .count = n};
    for (int token : piece.tokens) {
      const double tightening = mean_tightening(engine.audit());
      engine.decode(sequences, std::span(&token, 1), options.policy);
      result.steps.push_back(meter.take());
      result.steps.back().tightening = tightening;
      report(piece.kind, kPrefillShare + (1 - kPrefillShare) *
                                             static_cast<double>(result.steps.size()) / steps);
    }
    judge(result.steps, segment);
    result.segments.push_back(segment);
  }
  result.reads = engine.read_stats();
  return result;
}

}  // namespace sinkrouter
