#include "base/check.h"
#include "eval/clock.h"
#include "sinkrouter/eval.h"

namespace sinkrouter {
namespace {

void warm_up(Engine& engine, const Sequence& prompt, int token, const PolicyOptions& policy) {
  constexpr int kSteps = 2;
  Sequence sequence = engine.fork(prompt);
  Sequence* const sequences[] = {&sequence};
  for (int step = 0; step < kSteps; ++step) {
    engine.decode(sequences, std::span(&token, 1), policy);
  }
}

}  // namespace

GenerateResult ask(Engine& engine, const Sequence& prompt, std::span<const float> logits,
                   std::span<const int> question, const GenerateOptions& options,
                   const TextSink& on_text) {
  Sequence sequence = engine.fork(prompt);
  Sequence* const sequences[] = {&sequence};
  std::vector<float> last(logits.begin(), logits.end());
  engine.reset_read_stats();
  for (std::size_t i = 0; i < question.size(); ++i) {
    const std::span<const float> after =
        engine.decode(sequences, question.subspan(i, 1), options.policy);
    last.assign(after.begin(), after.end());
  }
  const ReadStats question_reads = engine.read_stats();
  GenerateResult result = generate(engine, sequence, last, options, on_text);
  result.reads = sum(question_reads, result.reads);
  return result;
}

CompareResult compare(Engine& engine, std::span<const int> prompt, std::span<const int> question,
                      const CompareOptions& options, const PrefillProgress& progress) {
  SR_CHECK(options.runs >= 1, kInvalidArgument, "runs is {}; it must be at least 1", options.runs);
  SR_CHECK(!prompt.empty(), kInvalidArgument, "the prompt is empty; there is nothing to continue");
  const Clock clock;
  Sequence sequence = engine.create_sequence();
  const std::span<const float> last = engine.prefill(sequence, prompt, progress);
  const std::vector<float> logits(last.begin(), last.end());

  CompareResult result;
  result.routed.policy = options.generate.policy;
  result.routed.prompt_tokens = static_cast<int>(prompt.size() + question.size());
  result.routed.question_tokens = static_cast<int>(question.size());
  result.routed.prefill_seconds = clock.seconds();
  result.dense = result.routed;
  result.dense.policy.kind = PolicyKind::kDense;

  warm_up(engine, sequence, prompt.back(), result.dense.policy);
  warm_up(engine, sequence, prompt.back(), result.routed.policy);
  std::vector<double> dense_speeds;
  std::vector<double> routed_speeds;
  for (int run = 0; run < options.runs; ++run) {
    const auto one_side = [&](Answer& side, const TextSink& on_text, std::vector<double>& speeds) {
      GenerateOptions generate_options = options.generate;
      generate_options.policy = side.policy;
      GenerateResult generated = ask(engine, sequence, logits, question, generate_options,
                                     run == 0 ? on_text : TextSink{});
      speeds.push_back(generated.tokens_per_second());
      if (run == 0) side.result = std::move(generated);
    };
    one_side(result.dense, options.on_dense_text, dense_speeds);
    one_side(result.routed, options.on_routed_text, routed_speeds);
  }
  result.dense.tokens_per_second = median(dense_speeds);
  result.routed.tokens_per_second = median(routed_speeds);
  result.tokens_equal = result.dense.result.tokens == result.routed.result.tokens;
  return result;
}

}  // namespace sinkrouter
