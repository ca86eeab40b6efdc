#include <fmt/format.h>
#include <fmt/ranges.h>

#include <memory>

#include "commands.h"
#include "flags.h"
#include "policy_spec.h"
#include "progress_bar.h"
#include "sinkrouter/error.h"
#include "sinkrouter/eval.h"
#include "table.h"

namespace sinkrouter::cli {
namespace {

struct NeedleFlags {
  EngineFlags engine;
  PolicyFlags policy;
  TextFlags text;
  NeedleOptions options;
  std::string question = "decode";
  bool json = false;
};

std::string ratio(int part, int whole) {
  return whole == 0 ? "-" : fmt::format("{:.3f}", static_cast<double>(part) / whole);
}

std::vector<const NeedleScore*> scores_of(const NeedleResult& result) {
  std::vector<const NeedleScore*> scores{&result.dense};
  for (const NeedleScore& score : result.policies) scores.push_back(&score);
  return scores;
}

// One row per label, one column per policy. The dense scores name the labels: every policy is asked
// the same questions.
std::string breakdown(const NeedleResult& result, const std::string& corner,
                      std::vector<Tally> NeedleScore::*tallies) {
  std::vector<std::string> header{corner, "asked"};
  for (const NeedleScore* score : scores_of(result)) header.push_back(to_spec(score->policy));
  Table table(header);
  for (std::size_t i = 0; i < (result.dense.*tallies).size(); ++i) {
    const Tally& dense = (result.dense.*tallies)[i];
    if (dense.asked == 0) continue;
    std::vector<std::string> row{dense.label, fmt::format("{}", dense.asked)};
    for (const NeedleScore* score : scores_of(result)) {
      const Tally& tally = (score->*tallies)[i];
      row.push_back(ratio(tally.right, tally.asked));
    }
    table.add(row);
  }
  return table.text();
}

std::string summary(const NeedleResult& result) {
  Table table({"policy", "accuracy", "same as dense", "KV read", "groups routed", "seconds"});
  for (const NeedleScore* score : scores_of(result)) {
    table.add({to_spec(score->policy), ratio(score->right, result.samples),
               ratio(score->same_as_dense, result.samples),
               percent(score->reads.kv_read_fraction()), percent(score->reads.routed_fraction()),
               fmt::format("{:.1f}", score->seconds)});
  }
  return fmt::format(
      "{}, {}\n{} questions about {} documents of {} tokens{}, wordings '{}', questions {}\n\n{}\n"
      "{}\n{}",
      result.model, result.device, result.samples, result.documents, result.context,
      result.decoded > 0 ? fmt::format(" (the last {} decoded)", result.decoded) : "", result.set,
      result.prefill_question ? "prefilled" : "decoded", table.text(),
      breakdown(result, "depth", &NeedleScore::by_depth),
      breakdown(result, "wording", &NeedleScore::by_wording));
}

void run(const NeedleFlags& flags) {
  NeedleOptions options = flags.options;
  options.policies = flags.policy.all(flags.engine.page_size());
  options.prefill_question = flags.question == "prefill";
  const std::vector<std::string> texts = flags.text.load();
  const std::unique_ptr<Engine> engine =
      flags.engine.open(options.policies, needle_capacity(options, flags.engine.page_size()));
  ProgressBar bar;
  const NeedleResult result = eval_needle(
      *engine, texts, options, [&](std::string_view what, double done) { bar.update(what, done); });
  bar.clear();
  print(flags.json ? to_json(result) + "\n" : summary(result));
}

}  // namespace

void add_eval_needle(CLI::App& parent, Chosen& chosen) {
  CLI::App* command =
      parent.add_subcommand("needle", "find facts hidden in a long text: exact-match accuracy");
  auto flags = std::make_shared<NeedleFlags>();
  NeedleOptions& options = flags->options;
  const auto count = [&](const char* flag, int& value, const char* about) {
    command->add_option(flag, value, about)->capture_default_str()->type_name("N");
  };
  count("--context", options.context, "tokens of a document, its question and answer included");
  count("--samples", options.samples, "questions in all");
  count("--documents", options.documents,
        "documents they are about; 0: one per 20 questions, at least 10");
  count("--decoded", options.decoded,
        "tokens at a document's end that are decoded under each policy, not prefilled");
  count("--batch", options.batch, "questions decoded together");
  command->add_option("--seed", options.seed, "of documents and facts")
      ->capture_default_str()
      ->type_name("N");
  command
      ->add_option("--wordings", options.set,
                   fmt::format("facts and questions: {}", fmt::join(needle_sets(), ", ")))
      ->capture_default_str()
      ->type_name("SET")
      ->check(CLI::IsMember(needle_sets()));
  command
      ->add_option("--question", flags->question,
                   "decode: question tokens go through the policy; prefill: they do not")
      ->capture_default_str()
      ->type_name("HOW")
      ->check(CLI::IsMember({"decode", "prefill"}));
  flags->text.add_to(*command);
  flags->engine.add_to(*command);
  flags->policy.add_to(*command, PolicyFlags::Count::kSeveral);
  add_json_flag(*command, flags->json);
  command->footer(
      "Dense attention is always measured too, on the same questions from the same prefill.\n"
      "Examples:\n"
      "  sinkrouter eval needle --model DIR --context 32768 --samples 200\n"
      "  sinkrouter eval needle --model DIR --policy "
      "margin:epsilon=0.02,margin,cosine:tau=0.6,streaming\n"
      "  sinkrouter eval needle --model DIR --text book.txt --wordings direct --json");
  command->callback([flags, &chosen] { chosen = [flags] { run(*flags); }; });
}

}  // namespace sinkrouter::cli
