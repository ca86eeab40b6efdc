#include <fmt/format.h>

#include <memory>
#include <optional>

#include "commands.h"
#include "flags.h"
#include "interrupt.h"
#include "policy_spec.h"
#include "progress_bar.h"
#include "prompt.h"
#include "sinkrouter/error.h"
#include "sinkrouter/eval.h"
#include "table.h"

namespace sinkrouter::cli {
namespace {

struct CompareFlags {
  EngineFlags engine;
  PolicyFlags policy;
  SamplingFlags sampling;
  PromptFlags prompt;
  TextFlags text;
  int needle = 0;
  int runs = 1;
  bool json = false;
};

// What to read and ask, and the right answer when it is known.
struct Material {
  std::vector<int> prompt;
  std::vector<int> question;
  std::string question_text;
  std::string answer;
};

Material needle_material(const CompareFlags& flags, const Engine& engine) {
  const NeedleSample sample = needle_sample(engine.tokenizer(), flags.text.load(), flags.needle,
                                            flags.sampling.options().sampling.seed);
  return {.prompt = sample.document,
          .question = engine.tokenizer().encode(sample.question, {.add_special = false}),
          .question_text = sample.question.substr(sample.question.find_first_not_of('\n')),
          .answer = sample.answer};
}

Material prompt_material(const CompareFlags& flags, const Engine& engine,
                         const std::string& prompt) {
  return {.prompt = flags.prompt.tokens(engine.tokenizer(), prompt),
          .question = flags.prompt.question_tokens(engine.tokenizer()),
          .question_text = {},
          .answer = {}};
}

// Prints one side's text as it comes, under a heading.
TextSink streamed(const PolicyOptions& policy, ProgressBar& bar) {
  return [heading = fmt::format("--- {} ---\n", to_spec(policy)), &bar,
          begun = false](std::string_view text) mutable {
    bar.clear();
    if (!begun) print(heading);
    begun = true;
    print(text);
    return !interrupted();
  };
}

// Under its heading, what a side that wrote nothing wrote.
std::string silence(const Answer& side) {
  return side.result.text.empty() ? fmt::format("--- {} ---\n(no text)\n", to_spec(side.policy))
                                  : "";
}

std::string summary(const CompareResult& result, const std::string& answer) {
  Table table({"", "tokens", "tokens/s", "KV read", "groups routed"});
  for (const Answer* side : {&result.dense, &result.routed}) {
    table.add({to_spec(side->policy), fmt::format("{}", side->result.tokens.size()),
               fmt::format("{:.1f}", side->tokens_per_second),
               percent(side->result.reads.kv_read_fraction()),
               percent(side->result.reads.routed_fraction())});
  }
  std::string text = silence(result.dense) + silence(result.routed);
  text += fmt::format(
      "\n{}\n{} prompt tokens, prefill {:.1f} s ({:.0f} tokens/s)\nspeedup {:.2f}x, answers {}\n",
      table.text(), result.dense.prompt_tokens, result.dense.prefill_seconds,
      result.dense.prompt_tokens / result.dense.prefill_seconds, result.speedup(),
      result.tokens_equal ? "equal" : "differ");
  if (!answer.empty()) text += fmt::format("hidden in the document: {}\n", answer);
  return text;
}

void run(const CompareFlags& flags) {
  CompareOptions options;
  options.generate = flags.sampling.options();
  options.generate.policy = flags.policy.one(flags.engine.page_size());
  options.runs = flags.runs;
  const bool needle = flags.needle != 0;
  if (needle == flags.prompt.given()) {
    throw Error(Error::Kind::kInvalidArgument,
                "pass exactly one of --prompt, --prompt-file and --needle TOKENS");
  }
  const std::string prompt = needle ? std::string() : flags.prompt.text();
  if (needle) options.generate.stop_texts.emplace_back("\n");

  const std::unique_ptr<Engine> engine =
      flags.engine.open(options.generate.policy,
                        needle ? needle_sample_capacity(flags.needle, options.generate.max_tokens,
                                                        flags.engine.page_size())
                               : 0);
  const Material material =
      needle ? needle_material(flags, *engine) : prompt_material(flags, *engine, prompt);
  ProgressBar bar;
  if (!flags.json) {
    if (needle) print(material.question_text + "\n");
    PolicyOptions dense;
    dense.kind = PolicyKind::kDense;
    options.on_dense_text = streamed(dense, bar);
    options.on_routed_text = [sink = streamed(options.generate.policy, bar),
                              begun = false](std::string_view text) mutable {
      if (!begun) print("\n");
      begun = true;
      return sink(text);
    };
  }
  const CompareResult result =
      compare(*engine, material.prompt, material.question, options,
              [&](std::int64_t done, std::int64_t total) {
                bar.update("prefill", static_cast<double>(done) / static_cast<double>(total));
              });
  bar.clear();
  check_interrupt();
  print(flags.json ? to_json(result) + "\n" : "\n" + summary(result, material.answer));
}

}  // namespace

void add_compare(CLI::App& parent, Chosen& chosen) {
  CLI::App* command =
      parent.add_subcommand("compare", "one prompt under dense attention and under a policy");
  auto flags = std::make_shared<CompareFlags>();
  flags->prompt.add_to(*command, false);
  command
      ->add_option("--needle", flags->needle,
                   "instead of a prompt: a text of this many tokens with facts hidden in it, and "
                   "a question about one (--seed picks)")
      ->type_name("TOKENS")
      ->check(CLI::PositiveNumber);
  flags->text.add_to(*command);
  command->add_option("--runs", flags->runs, "repetitions; speeds are medians")
      ->capture_default_str()
      ->type_name("N")
      ->check(CLI::PositiveNumber);
  flags->engine.add_to(*command);
  flags->policy.add_to(*command, PolicyFlags::Count::kOne);
  flags->sampling.add_to(*command);
  add_json_flag(*command, flags->json);
  command->footer(
      "Examples:\n"
      "  sinkrouter compare --model DIR --needle 32768\n"
      "  sinkrouter compare --model DIR --prompt-file report.txt --question \"In short:\"\n"
      "  sinkrouter compare --model DIR --prompt \"Once upon a time\" --policy streaming --json");
  command->callback([flags, &chosen] { chosen = [flags] { run(*flags); }; });
}

}  // namespace sinkrouter::cli
