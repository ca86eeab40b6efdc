#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <memory>

#include "commands.h"
#include "flags.h"
#include "interrupt.h"
#include "progress_bar.h"
#include "prompt.h"
#include "sinkrouter/eval.h"
#include "table.h"

namespace sinkrouter::cli {
namespace {

struct GenerateFlags {
  EngineFlags engine;
  PolicyFlags policy;
  SamplingFlags sampling;
  PromptFlags prompt;
  bool json = false;
};

void run(const GenerateFlags& flags) {
  GenerateOptions options = flags.sampling.options();
  options.policy = flags.policy.one(flags.engine.page_size());
  const std::string prompt = flags.prompt.text();

  const std::unique_ptr<Engine> engine = flags.engine.open(options.policy);
  const std::vector<int> tokens = flags.prompt.tokens(engine->tokenizer(), prompt);
  const std::vector<int> question = flags.prompt.question_tokens(engine->tokenizer());
  ProgressBar bar;
  Answer answer{.policy = options.policy,
                .prompt_tokens = static_cast<int>(tokens.size() + question.size()),
                .question_tokens = static_cast<int>(question.size())};
  Sequence sequence = engine->create_sequence();
  const auto start = std::chrono::steady_clock::now();
  const std::span<const float> last =
      engine->prefill(sequence, tokens, [&](std::int64_t done, std::int64_t total) {
        bar.update("prefill", static_cast<double>(done) / static_cast<double>(total));
      });
  answer.prefill_seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  bar.clear();
  const std::vector<float> logits(last.begin(), last.end());
  answer.result = ask(*engine, sequence, logits, question, options, [&](std::string_view text) {
    if (!flags.json) print(text);
    return !interrupted();
  });
  answer.tokens_per_second = answer.result.tokens_per_second();

  if (flags.json) {
    print(to_json(answer) + "\n");
    return;
  }
  print("\n");
  fmt::print(stderr,
             "{} prompt tokens in {:.2f} s; {} tokens at {:.1f} tokens/s; KV read {}, groups "
             "routed {}\n",
             answer.prompt_tokens, answer.prefill_seconds, answer.result.tokens.size(),
             answer.tokens_per_second, percent(answer.result.reads.kv_read_fraction()),
             percent(answer.result.reads.routed_fraction()));
}

}  // namespace

void add_generate(CLI::App& parent, Chosen& chosen) {
  CLI::App* command = parent.add_subcommand("generate", "continue a prompt, streaming");
  auto flags = std::make_shared<GenerateFlags>();
  flags->prompt.add_to(*command, true);
  flags->engine.add_to(*command);
  flags->policy.add_to(*command, PolicyFlags::Count::kOne);
  flags->sampling.add_to(*command);
  add_json_flag(*command, flags->json);
  command->footer(
      "Examples:\n"
      "  sinkrouter generate --model DIR --prompt \"Once upon a time\"\n"
      "  sinkrouter generate --model DIR --prompt-file report.txt --question \"In short:\"\n"
      "  cat report.txt | sinkrouter generate --model DIR --prompt-file - --policy dense --json");
  command->callback([flags, &chosen] { chosen = [flags] { run(*flags); }; });
}

}  // namespace sinkrouter::cli
