#include "sinkrouter/inspect.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "commands.h"
#include "flags.h"
#include "policy_spec.h"
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

std::string layer_table(const InspectReport& report) {
  Table table({"layer", "sink mass", "heads sunk", "groups routed", "rows read", "unread mass"});
  const int q_heads = report.model.q_heads;
  const int kv_heads = report.model.kv_heads;
  for (int layer = 0; layer < report.model.layers; ++layer) {
    double sink = 0;
    double sunk = 0;
    double unread = 0;
    for (int head = 0; head < q_heads; ++head) {
      const HeadReport& one = report.heads[static_cast<std::size_t>(layer) * q_heads + head];
      sink += one.sink_mass / q_heads;
      sunk += one.sunk_share / q_heads;
      unread += one.unread_mass / q_heads;
    }
    double routed = 0;
    double read = 0;
    for (int head = 0; head < kv_heads; ++head) {
      const GroupReport& one = report.groups[static_cast<std::size_t>(layer) * kv_heads + head];
      routed += one.routed_share / kv_heads;
      read += one.read_share / kv_heads;
    }
    table.add({fmt::format("{}", layer), fmt::format("{:.3f}", sink), percent(sunk),
               percent(routed), percent(read), fmt::format("{:.5f}", unread)});
  }
  return table.text();
}

std::string sink_table(const InspectReport& report) {
  constexpr std::size_t kShown = 10;
  std::vector<SinkReport> sinks = report.sinks;
  std::sort(sinks.begin(), sinks.end(),
            [](const SinkReport& a, const SinkReport& b) { return a.mass > b.mass; });
  sinks.resize(std::min(sinks.size(), kShown));
  Table table({"strongest sinks", "layer", "KV head", "mean mass"});
  for (const SinkReport& sink : sinks) {
    table.add({fmt::format("{} {}", sink.position, escaped(sink.token)),
               fmt::format("{}", sink.layer), fmt::format("{}", sink.kv_head),
               fmt::format("{:.3f}", sink.mass)});
  }
  return table.text();
}

std::string summary(const InspectReport& report) {
  const AuditReport& audit = report.audit;
  return fmt::format(
      "{}, {}\nlast {} of {} tokens under {}: KV read {}, groups routed {}\n"
      "{} of (layer, head, token) have over 0.9 of their mass on position 0\n"
      "unread mass: mean {:.5f}, 95% below {:.5f}, largest {:.4f}; over epsilon {:g} in {}\n\n"
      "{}\n{}",
      report.model.name, report.device, report.tokens, report.context, to_spec(report.policy),
      percent(report.reads.kv_read_fraction()), percent(report.reads.routed_fraction()),
      percent(report.sunk_share), audit.unread_mass_mean, audit.unread_mass_p95,
      audit.unread_mass_max, report.policy.epsilon, percent(audit.over_epsilon),
      layer_table(report), sink_table(report));
}

void run(const InspectFlags& flags) {
  InspectOptions options = flags.options;
  options.policy = flags.policy.one(flags.engine.page_size());
  const std::unique_ptr<Engine> engine = flags.engine.open(options.policy);
  const std::vector<int> tokens = tokens_to_read(flags, *engine);
  ProgressBar bar;
  const InspectReport report =
      inspect(*engine, tokens, options,
              [&](std::string_view what, double done) { bar.update(what, done); });
  bar.clear();
  if (!flags.out.empty()) write_report(report, flags.out);
  if (flags.json) {
    print(to_json(report) + "\n");
    return;
  }
  print(summary(report));
  if (!flags.out.empty())
    print(fmt::format("\nwrote {0}/report.json and {0}/heads.svg\n", flags.out));
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
  command->add_option("--out", flags->out, "folder for report.json and heads.svg")
      ->type_name("DIR");
  flags->engine.add_to(*command);
  flags->policy.add_to(*command, PolicyFlags::Count::kOne);
  add_json_flag(*command, flags->json);
  command->footer(
      "Examples:\n"
      "  sinkrouter inspect --model DIR --out report\n"
      "  sinkrouter inspect --model DIR --prompt-file report.txt --policy dense --json");
  command->callback([flags, &chosen] { chosen = [flags] { run(*flags); }; });
}

}  // namespace sinkrouter::cli
