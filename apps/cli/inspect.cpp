#include "sinkrouter/inspect.h"

#include <fmt/format.h>

#include <memory>

#include "commands.h"
#include "fixed_point_text.h"
#include "flags.h"
#include "inspect_text.h"
#include "progress_bar.h"
#include "prompt.h"
#include "table.h"

namespace sinkrouter::cli {
namespace {

struct InspectFlags {
  EngineFlags engine;
  PolicyFlags policy;
  PromptFlags prompt;
  TextFlags text;
  InspectOptions options;
  int context = 4096;
  std::string out;
  bool fixed_point = false;
  FixedPointOptions fixed_point_options;
  bool json = false;
};

std::vector<int> tokens_to_read(const InspectFlags& flags, const Engine& engine) {
  if (!flags.prompt.given()) {
    return first_tokens(engine.tokenizer(), flags.text.load(), flags.context);
  }
  std::vector<int> tokens = flags.prompt.tokens(engine.tokenizer(), flags.prompt.text());
  const std::vector<int> question = flags.prompt.question_tokens(engine.tokenizer());
  tokens.insert(tokens.end(), question.begin(), question.end());
  return tokens;
}

void run(const InspectFlags& flags) {
  InspectOptions options = flags.options;
  options.policy = flags.policy.one(flags.engine.page_size());
  if (flags.fixed_point) options.fixed_point = flags.fixed_point_options;
  const std::unique_ptr<Engine> engine = flags.engine.open(options.policy);
  const std::vector<int> tokens = tokens_to_read(flags, *engine);
  ProgressBar bar;
  const InspectReport report =
      inspect(*engine, tokens, options,
              [&](std::string_view what, double done) { bar.update(what, done); });
  bar.clear();
  std::vector<std::string> written;
  if (!flags.out.empty()) written = write_report(report, flags.out);
  if (flags.json) {
    print(to_json(report) + "\n");
    return;
  }
  print(to_text(report));
  if (report.fixed_point) print("\n" + to_text(*report.fixed_point));
  if (!written.empty()) {
    print(fmt::format("\nwrote {} to {}\n", fmt::join(written, ", "), flags.out));
  }
}

}  // namespace

void add_inspect(CLI::App& parent, Chosen& chosen) {
  CLI::App* command = parent.add_subcommand(
      "inspect", "what the heads do: sinks, routed share, mass the policy leaves unread");
  auto flags = std::make_shared<InspectFlags>();
  flags->prompt.add_to(*command, false);
  flags->text.add_to(*command);
  command->add_option("--context", flags->context, "tokens of the text to read, without a prompt")
      ->capture_default_str()
      ->type_name("N")
      ->check(CLI::PositiveNumber);
  command->add_option("--tokens", flags->options.tokens, "last tokens, decoded and observed")
      ->capture_default_str()
      ->type_name("N");
  CLI::Option* fixed_point =
      command->add_flag("--fixed-point", flags->fixed_point,
                        "also measures how far the sink is a reachable, stable, "
                        "error-controllable fixed point");
  command
      ->add_option("--noise", flags->fixed_point_options.noise,
                   "sizes of the noise on queries of dormant heads, relative to them")
      ->capture_default_str()
      ->delimiter(',')
      ->type_name("X,...")
      ->needs(fixed_point);
  command
      ->add_option("--perturbed", flags->fixed_point_options.perturbed_tokens,
                   "observed tokens whose queries get noise")
      ->capture_default_str()
      ->type_name("N")
      ->needs(fixed_point);
  command->add_option("--seed", flags->fixed_point_options.seed, "of random directions")
      ->capture_default_str()
      ->type_name("N")
      ->needs(fixed_point);
  command->add_option("--out", flags->out, "folder for report.json and pictures")->type_name("DIR");
  flags->engine.add_to(*command);
  flags->policy.add_to(*command, PolicyFlags::Count::kOne);
  add_json_flag(*command, flags->json);
  command->footer(
      "Examples:\n"
      "  sinkrouter inspect --model DIR --out report\n"
      "  sinkrouter inspect --model DIR --tokens 256 --fixed-point --out report\n"
      "  sinkrouter inspect --model DIR --prompt-file report.txt --policy dense --json");
  command->callback([flags, &chosen] { chosen = [flags] { run(*flags); }; });
}

}  // namespace sinkrouter::cli
