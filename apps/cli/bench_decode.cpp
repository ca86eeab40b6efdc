#include <fmt/format.h>

#include <memory>

#include "commands.h"
#include "flags.h"
#include "policy_spec.h"
#include "progress_bar.h"
#include "sinkrouter/bench.h"
#include "table.h"

namespace sinkrouter::cli {
namespace {

struct DecodeFlags {
  EngineFlags engine;
  PolicyFlags policy;
  TextFlags text;
  DecodeBenchOptions options;
  bool json = false;
};

std::string summary(const DecodeBenchResult& result) {
  Table table({"", "ms/token", "tokens/s", "GB/s", "KV read"});
  const auto add = [&](const std::string& label, double us, double rate, double read) {
    table.add({label, fmt::format("{:.2f}", us * 1e-3), fmt::format("{:.1f}", 1e6 / us),
               fmt::format("{:.1f}", rate), percent(read)});
  };
  add("dense", result.dense_median_us, result.dense_gb_per_s, 1.0);
  add(to_spec(result.policy), result.median_us, result.achieved_gb_per_s,
      result.reads.kv_read_fraction());
  return fmt::format(
      "{}, {}\n{} tokens decoded after {} (prefill {:.1f} s); medians\n\n{}\n"
      "speedup {:.2f}x, by bytes {:.2f}x; the machine reads {:.1f} GB/s\n",
      result.model.name, result.device, result.tokens, result.context, result.prefill_seconds,
      table.text(), result.speedup(), result.ideal_speedup, result.read_ceiling_gb_per_s);
}

void run(const DecodeFlags& flags) {
  DecodeBenchOptions options = flags.options;
  options.policy = flags.policy.one(flags.engine.page_size());
  const std::vector<std::string> texts = flags.text.load();
  const std::unique_ptr<Engine> engine =
      flags.engine.open(options.policy, decode_bench_capacity(options, flags.engine.page_size()));
  const std::vector<int> tokens =
      first_tokens(engine->tokenizer(), texts, options.context + options.tokens);
  ProgressBar bar;
  const DecodeBenchResult result =
      bench_decode(*engine, tokens, options,
                   [&](std::string_view what, double done) { bar.update(what, done); });
  bar.clear();
  print(flags.json ? to_json(result) + "\n" : summary(result));
}

}  // namespace

void add_bench_decode(CLI::App& parent, Chosen& chosen) {
  CLI::App* command =
      parent.add_subcommand("decode", "whole decode steps of a model, dense and policy in turn");
  auto flags = std::make_shared<DecodeFlags>();
  DecodeBenchOptions& options = flags->options;
  const auto count = [&](const char* flag, int& value, const char* about) {
    command->add_option(flag, value, about)
        ->capture_default_str()
        ->type_name("N")
        ->check(CLI::PositiveNumber);
  };
  count("--context", options.context, "tokens prefilled");
  count("--tokens", options.tokens, "tokens decoded, the same ones dense and routed");
  count("--rounds", options.rounds, "how often dense and policy take turns");
  flags->text.add_to(*command);
  flags->engine.add_to(*command);
  flags->policy.add_to(*command, PolicyFlags::Count::kOne);
  add_json_flag(*command, flags->json);
  command->footer(
      "Examples:\n"
      "  sinkrouter bench decode --model DIR --context 32768\n"
      "  sinkrouter bench decode --model DIR --context 65000 --tokens 128 --threads 2 --json");
  command->callback([flags, &chosen] { chosen = [flags] { run(*flags); }; });
}

}  // namespace sinkrouter::cli
