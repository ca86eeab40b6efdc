#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <memory>

#include "commands.h"
#include "flags.h"
#include "policy_spec.h"
#include "progress_bar.h"
#include "sinkrouter/suite.h"
#include "table.h"

namespace sinkrouter::cli {
namespace {

struct SuiteFlags {
  EngineFlags engine;
  PolicyFlags policy;
  TextFlags text;
  std::vector<std::filesystem::path> code;
  std::vector<std::string> tasks;
  std::vector<std::string> modes{"decode", "prefill"};
  SuiteOptions options{.tasks = {}, .contexts = {4096, 8192, 16384}, .policies = {}};
  std::string out;
  bool json = false;
};

std::vector<SuiteTask> tasks_of(const SuiteFlags& flags) {
  std::vector<SuiteTask> tasks;
  for (const std::string& text : flags.tasks) tasks.push_back(parse_suite_task(text));
  if (!tasks.empty()) return tasks;
  for (SuiteTask task : suite_tasks()) {
    if (task != SuiteTask::kPerplexityCode || !flags.code.empty()) tasks.push_back(task);
  }
  return tasks;
}

SuiteOptions options_of(const SuiteFlags& flags) {
  SuiteOptions options = flags.options;
  options.tasks = tasks_of(flags);
  options.modes.clear();
  for (const std::string& text : flags.modes) options.modes.push_back(parse_suite_mode(text));
  for (const PolicyOptions& policy : flags.policy.all(flags.engine.page_size())) {
    options.policies.push_back({.text = to_spec(policy), .options = policy});
  }
  options.version = SINKROUTER_VERSION;
  return options;
}

std::string heading(const SuiteCell& cell) {
  const std::string_view questions = is_perplexity(cell.task)           ? ""
                                     : cell.mode == SuiteMode::kPrefill ? ", questions prefilled"
                                                                        : ", questions decoded";
  return fmt::format("{} at {}{}", name(cell.task), cell.context, questions);
}

std::string against_dense(const SuiteCell& cell, double dense) {
  if (is_perplexity(cell.task)) return fmt::format("{:+.2f}%", 100 * (cell.score() / dense - 1));
  return fmt::format("{:+.3f}", cell.score() - dense);
}

// Of the bytes read: those that decided what to read, and checked it.
double router_share(const ReadStats& reads) {
  const std::int64_t router = reads.router_bytes + reads.audit_bytes;
  const std::int64_t read = router + reads.attention_bytes;
  return read == 0 ? 0.0 : static_cast<double>(router) / static_cast<double>(read);
}

std::string summary(const SuiteResult& result, const std::string& out) {
  Table table({"", "score", "against dense", "KV read", "router's part", "samples", "seconds"});
  std::string last;
  bool partial = false;
  for (const SuiteCell& cell : result.cells) {
    if (heading(cell) != last) table.add({last = heading(cell)});
    const bool complete = result.is_complete(cell);
    partial = partial || !complete;
    table.add({"  " + cell.policy,
               fmt::format("{:.{}f}", cell.score(), is_perplexity(cell.task) ? 2 : 3),
               cell.policy == kSuiteDense ? "" : against_dense(cell, result.dense_score(cell)),
               percent(cell.reads.kv_read_fraction()), percent(router_share(cell.reads)),
               fmt::format("{}{}", cell.samples(), complete ? "" : "*"),
               fmt::format("{:.1f}", cell.seconds)});
  }
  const SuiteSettings& settings = result.settings;
  std::string text = fmt::format(
      "{}, each task and context: questions {}, documents {}; perplexity: windows {}, last tokens "
      "{}\n"
      "\n{}",
      settings.model, settings.samples, settings.documents, settings.documents, settings.tokens,
      table.text());
  if (partial) text += "\n* of some of the documents only; the same run again goes on\n";
  return text + fmt::format("\nwrote suite.json and plots to {}\n", out);
}

void run(const SuiteFlags& flags) {
  const SuiteOptions options = options_of(flags);
  const SuiteTexts texts{
      .prose = flags.text.load(),
      .code = flags.code.empty() ? std::vector<std::string>{} : load_texts(flags.code)};
  const std::unique_ptr<Engine> engine =
      flags.engine.open(flags.policy.all(flags.engine.page_size()),
                        suite_capacity(options, flags.engine.page_size()));
  ProgressBar bar;
  const SuiteResult result =
      eval_suite(*engine, texts, options, flags.out,
                 [&](std::string_view what, double done) { bar.update(what, done); });
  bar.clear();
  write_suite_plots(result, flags.out);
  print(flags.json ? to_json(result) + "\n" : summary(result, flags.out));
}

std::string task_names() {
  std::vector<std::string_view> names;
  for (SuiteTask task : suite_tasks()) names.push_back(name(task));
  return fmt::format("{}", fmt::join(names, ", "));
}

void add_suite_options(CLI::App& command, SuiteFlags& flags) {
  SuiteOptions& options = flags.options;
  command.add_option("--out", flags.out, "results folder; a later run goes on with what it holds")
      ->required()
      ->type_name("DIR");
  command.add_option("--contexts", options.contexts, "context lengths in tokens")
      ->delimiter(',')
      ->capture_default_str()
      ->type_name("N,...");
  command
      .add_option("--tasks", flags.tasks,
                  task_names() + "; all when not given, perplexity-code with --code only")
      ->delimiter(',')
      ->type_name("NAME,...");
  command
      .add_option("--question", flags.modes,
                  "decode: question tokens go through the policy; prefill: they do not")
      ->delimiter(',')
      ->capture_default_str()
      ->type_name("HOW,...");
  const auto count = [&](const char* flag, int& value, const char* about) {
    command.add_option(flag, value, about)->capture_default_str()->type_name("N");
  };
  count("--samples", options.samples, "questions for each task and context");
  count("--documents", options.documents,
        "documents that share them, and windows of text for perplexity");
  count("--tokens", options.tokens, "scored at the end of each window of text");
  count("--batch", options.batch, "questions decoded together");
  command.add_option("--seed", options.seed, "of documents and questions")
      ->capture_default_str()
      ->type_name("N");
  flags.text.add_to(command);
  command.add_option("--code", flags.code, "files of program code; may be repeated")
      ->type_name("FILE")
      ->expected(1)
      ->take_all();
}

}  // namespace

void add_eval_suite(CLI::App& parent, Chosen& chosen) {
  CLI::App* command = parent.add_subcommand(
      "suite", "several tasks, context lengths and policies, into a folder to go on with");
  auto flags = std::make_shared<SuiteFlags>();
  add_suite_options(*command, *flags);
  flags->engine.add_to(*command);
  flags->policy.add_to(*command, PolicyFlags::Count::kSeveral);
  add_json_flag(*command, flags->json);
  command->footer(
      "Dense attention is always measured too. A run that was stopped goes on where it was when\n"
      "it is started again; other policies, tasks and contexts may be added to a folder later,\n"
      "other settings may not.\n"
      "Examples:\n"
      "  sinkrouter eval suite --model DIR --out results --contexts 4096,16384\n"
      "  sinkrouter eval suite --model DIR --out results --tasks needle,multikey,perplexity \\\n"
      "    --policy margin:epsilon=0.002,margin:epsilon=0.02,streaming\n"
      "  sinkrouter eval suite --model DIR --out results --text book.txt --code main.py --json");
  command->callback([flags, &chosen] { chosen = [flags] { run(*flags); }; });
}

}  // namespace sinkrouter::cli
