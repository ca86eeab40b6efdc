#include <fmt/format.h>

#include <memory>

#include "commands.h"
#include "flags.h"
#include "policy_spec.h"
#include "progress_bar.h"
#include "sinkrouter/drift.h"
#include "table.h"

namespace sinkrouter::cli {
namespace {

struct DriftFlags {
  EngineFlags engine;
  PolicyFlags policy;
  TextFlags text;
  std::vector<std::filesystem::path> code;
  DriftOptions options;
  std::string out;
  bool json = false;
};

std::string summary(const DriftResult& result, const std::string& out) {
  Table table({"text", "from step", "over epsilon", fmt::format("after {} steps", kDriftSettling),
               "steps to recover"});
  for (const DriftSegment& segment : result.segments) {
    table.add({segment.kind, fmt::format("{}", segment.first), percent(segment.violation_rate),
               percent(segment.settled_violation_rate),
               segment.recovered_after < 0 ? "never" : fmt::format("{}", segment.recovered_after)});
  }
  return fmt::format(
      "{}, {}\n{}, {} tokens prefilled; over epsilon: share of decisions, target {}\n\n{}\n"
      "in all {} over epsilon, KV read {}\nwrote drift.json and drift.svg to {}\n",
      result.model.name, result.device, to_spec(result.policy), result.context,
      percent(kAuditTarget), table.text(), percent(result.violation_rate()),
      percent(result.reads.kv_read_fraction()), out);
}

void run(const DriftFlags& flags) {
  DriftOptions options = flags.options;
  options.policy = flags.policy.one(flags.engine.page_size());
  const SuiteTexts texts{
      .prose = flags.text.load(),
      .code = flags.code.empty() ? std::vector<std::string>{} : load_texts(flags.code)};
  const std::unique_ptr<Engine> engine =
      flags.engine.open(options.policy, drift_capacity(options, flags.engine.page_size()));
  ProgressBar bar;
  const DriftResult result = eval_drift(
      *engine, texts, options, [&](std::string_view what, double done) { bar.update(what, done); });
  bar.clear();
  write_drift(result, flags.out);
  print(flags.json ? to_json(result) + "\n" : summary(result, flags.out));
}

}  // namespace

void add_eval_drift(CLI::App& parent, Chosen& chosen) {
  CLI::App* command = parent.add_subcommand(
      "drift", "how often epsilon is exceeded when the text changes, and how fast that ends");
  auto flags = std::make_shared<DriftFlags>();
  const auto count = [&](const char* flag, int& value, const char* about) {
    command->add_option(flag, value, about)->capture_default_str()->type_name("N");
  };
  command->add_option("--out", flags->out, "folder for drift.json and drift.svg")
      ->required()
      ->type_name("DIR");
  count("--context", flags->options.context, "tokens of prose prefilled");
  count("--tokens", flags->options.tokens, "decoded of each kind of text");
  command->add_option("--seed", flags->options.seed, "of the facts")
      ->capture_default_str()
      ->type_name("N");
  flags->text.add_to(*command);
  command->add_option("--code", flags->code, "files of program code; may be repeated")
      ->type_name("FILE")
      ->expected(1)
      ->take_all()
      ->required();
  flags->engine.add_to(*command);
  flags->policy.add_to(*command, PolicyFlags::Count::kOne);
  add_json_flag(*command, flags->json);
  command->footer(
      "Decodes prose, code, facts with questions, one token over and over, and prose again, and\n"
      "checks every decision with all logits known.\n"
      "Examples:\n"
      "  sinkrouter eval drift --model DIR --code main.py --out drift\n"
      "  sinkrouter eval drift --model DIR --text book.txt --code main.py --audit 0 --out drift");
  command->callback([flags, &chosen] { chosen = [flags] { run(*flags); }; });
}

}  // namespace sinkrouter::cli
