#include "eval/suite/runner.h"

#include <cmath>

#include "base/check.h"
#include "eval/clock.h"
#include "eval/reply.h"
#include "eval/suite/exercise.h"
#include "eval/suite/forks.h"
#include "eval/suite/plan.h"
#include "eval/surprise.h"
#include "eval/tokens.h"

namespace sinkrouter {
namespace {

constexpr double kPrefillShare = 0.6;  // of a job's time, for the progress

}  // namespace

SuiteRunner::SuiteRunner(Engine& engine, const SuiteTexts& texts, TextTokens& tokens,
                         const SuiteOptions& options, SuiteStore& store)
    : engine_(engine), texts_(texts), tokens_(tokens), options_(options), store_(store) {}

void SuiteRunner::run(const DocumentJob& job, const JobProgress& progress) {
  if (is_perplexity(job.task)) {
    run_window(job, progress);
  } else {
    run_questions(job, progress);
  }
}

void SuiteRunner::run_questions(const DocumentJob& job, const JobProgress& progress) {
  const SuiteSettings& settings = store_.result().settings;
  const int count =
      questions_before(settings, job.document + 1) - questions_before(settings, job.document);
  Rng rng(document_seed(options_.seed, job.task, job.context, job.document));
  const Exercise exercise =
      make_exercise(engine_.tokenizer(), texts_.prose, job.task, job.context, count, rng);
  const Sequence document = prefilled(exercise.document, progress);
  ExerciseForks forks(engine_, document, exercise.questions);
  for (const PendingCell& cell : job.cells) {
    if (cell.mode == SuiteMode::kPrefill) forks.prefill_questions();
  }
  const auto trial = [&](const PendingCell& cell) {
    const std::vector<Reply> replies =
        reply_to(engine_, exercise.questions.size(),
                 [&](std::size_t index) { return forks.open(index, cell.mode); },
                 {.policy = cell.policy->options,
                  .batch = options_.batch,
                  .is_complete = is_complete_answer});
    std::vector<double> scores;
    for (std::size_t i = 0; i < replies.size(); ++i) {
      scores.push_back(exercise.questions[i].score(replies[i]));
    }
    return scores;
  };
  run_cells(job, trial, progress);
}

void SuiteRunner::run_window(const DocumentJob& job, const JobProgress& progress) {
  const std::vector<int> start = start_tokens(engine_.tokenizer());
  const std::vector<int>& text =
      job.task == SuiteTask::kPerplexityCode ? tokens_.code() : tokens_.prose();
  const std::vector<int> window =
      text_window(start, text, job.context, job.document, store_.result().settings.documents);
  const int first = job.context - options_.tokens;
  const Sequence document =
      prefilled(std::span(window).first(static_cast<std::size_t>(first)), progress);
  const auto trial = [&](const PendingCell& cell) {
    Sequence sequence = engine_.fork(document);
    const double nats =
        surprise(engine_, sequence, window, first, cell.policy->options) / options_.tokens;
    SR_CHECK(std::isfinite(nats), kInvalidFile,
             "{}: gives no finite probabilities under policy {}; is the checkpoint sound?",
             engine_.options().model.string(), cell.policy->text);
    return std::vector<double>{nats};
  };
  run_cells(job, trial, progress);
}

Sequence SuiteRunner::prefilled(std::span<const int> tokens, const JobProgress& progress) {
  Sequence sequence = engine_.create_sequence();
  engine_.prefill(sequence, tokens, [&](std::int64_t done, std::int64_t total) {
    progress("prefill", kPrefillShare * static_cast<double>(done) / static_cast<double>(total));
  });
  return sequence;
}

// Results are added to the store's cells together: a run that is stopped leaves all of them
// without this document.
void SuiteRunner::run_cells(const DocumentJob& job, const Trial& trial,
                            const JobProgress& progress) {
  std::vector<Outcome> outcomes;
  for (const PendingCell& cell : job.cells) {
    progress(cell.policy->text, kPrefillShare + (1 - kPrefillShare) *
                                                    static_cast<double>(outcomes.size()) /
                                                    static_cast<double>(job.cells.size()));
    engine_.reset_read_stats();
    const Clock clock;
    Outcome outcome{.scores = trial(cell)};
    outcome.seconds = clock.seconds();
    outcome.reads = engine_.read_stats();
    outcomes.push_back(std::move(outcome));
  }
  for (std::size_t i = 0; i < outcomes.size(); ++i) {
    SuiteCell& cell =
        store_.cell(job.task, job.context, job.cells[i].mode, job.cells[i].policy->text);
    SR_ASSERT(cell.documents == job.document);
    cell.scores.insert(cell.scores.end(), outcomes[i].scores.begin(), outcomes[i].scores.end());
    cell.documents += 1;
    cell.seconds += outcomes[i].seconds;
    cell.reads = sum(cell.reads, outcomes[i].reads);
    cell.model = engine_.info().name;
    cell.seed = options_.seed;
    cell.device = engine_.description();
    cell.version = options_.version;
  }
}

}  // namespace sinkrouter
