#include <fmt/format.h>

#include <memory>

#include "commands.h"
#include "flags.h"
#include "policy_spec.h"
#include "progress_bar.h"
#include "sinkrouter/eval.h"
#include "table.h"

namespace sinkrouter::cli {
namespace {

struct PerplexityFlags {
  EngineFlags engine;
  PolicyFlags policy;
  TextFlags text;
  PerplexityOptions options;
  bool json = false;
};

std::string summary(const PerplexityResult& result) {
  Table table({"policy", "perplexity", "against dense", "KV read", "groups routed", "seconds"});
  const auto add = [&](const PerplexityScore& score) {
    table.add({to_spec(score.policy), fmt::format("{:.4f}", score.perplexity),
               fmt::format("{:+.2f}%", result.delta_percent(score)),
               percent(score.reads.kv_read_fraction()), percent(score.reads.routed_fraction()),
               fmt::format("{:.1f}", score.seconds)});
  };
  add(result.dense);
  for (const PerplexityScore& score : result.policies) add(score);
  return fmt::format("{}, {}\nlast {} tokens of {} windows of {} tokens\n\n{}", result.model,
                     result.device, result.tokens, result.samples, result.context, table.text());
}

void run(const PerplexityFlags& flags) {
  PerplexityOptions options = flags.options;
  options.policies = flags.policy.all(flags.engine.page_size());
  const std::vector<std::string> texts = flags.text.load();
  const std::unique_ptr<Engine> engine =
      flags.engine.open(options.policies, perplexity_capacity(options, flags.engine.page_size()));
  ProgressBar bar;
  const PerplexityResult result = eval_perplexity(
      *engine, texts, options, [&](std::string_view what, double done) { bar.update(what, done); });
  bar.clear();
  print(flags.json ? to_json(result) + "\n" : summary(result));
}

}  // namespace

void add_eval_perplexity(CLI::App& parent, Chosen& chosen) {
  CLI::App* command =
      parent.add_subcommand("perplexity", "perplexity of a text's tokens decoded under policies");
  auto flags = std::make_shared<PerplexityFlags>();
  PerplexityOptions& options = flags->options;
  const auto count = [&](const char* flag, int& value, const char* about) {
    command->add_option(flag, value, about)->capture_default_str()->type_name("N");
  };
  count("--context", options.context, "tokens of a window");
  count("--samples", options.samples, "windows, evenly spread over the text");
  count("--tokens", options.tokens, "scored at the end of each window; the rest is prefilled");
  flags->text.add_to(*command);
  flags->engine.add_to(*command);
  flags->policy.add_to(*command, PolicyFlags::Count::kSeveral);
  add_json_flag(*command, flags->json);
  command->footer(
      "Dense attention is always measured too, on the same tokens from the same prefill.\n"
      "Examples:\n"
      "  sinkrouter eval perplexity --model DIR --context 4096 --text held-out.txt\n"
      "  sinkrouter eval perplexity --model DIR --policy margin:epsilon=0.02,margin --json");
  command->callback([flags, &chosen] { chosen = [flags] { run(*flags); }; });
}

}  // namespace sinkrouter::cli
