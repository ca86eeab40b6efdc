#include <algorithm>
#include <set>

#include "base/check.h"
#include "eval/suite/exercise.h"
#include "eval/suite/fingerprint.h"
#include "eval/suite/plan.h"
#include "eval/suite/runner.h"
#include "eval/suite/store.h"
#include "eval/surprise.h"
#include "eval/tokens.h"
#include "sinkrouter/suite.h"

namespace sinkrouter {
namespace {

constexpr int kShortestContext = 1024;
constexpr int kMostQuestions = 50;  // about one document

void check_counts(const SuiteOptions& options) {
  const auto at_least_one = [](int value, const char* name) {
    SR_CHECK(value >= 1, kInvalidArgument, "{} is {}; it must be at least 1", name, value);
  };
  at_least_one(options.documents, "documents");
  at_least_one(options.tokens, "tokens");
  at_least_one(options.batch, "batch");
  SR_CHECK(options.samples >= options.documents, kInvalidArgument,
           "samples is {}; it must be at least the number of documents, {}", options.samples,
           options.documents);
  SR_CHECK(options.samples <= std::int64_t{kMostQuestions} * options.documents, kInvalidArgument,
           "samples is {}; {} documents have room for {} at most: ask for more documents",
           options.samples, options.documents, kMostQuestions * options.documents);
  SR_CHECK(options.seed <= INT64_MAX, kInvalidArgument, "seed is {}; it must be at most {}",
           options.seed, INT64_MAX);
}

template <typename T>
void expect_distinct(const std::vector<T>& values, const char* name) {
  SR_CHECK(!values.empty(), kInvalidArgument, "no {} are given; name at least one", name);
  SR_CHECK(std::set<T>(values.begin(), values.end()).size() == values.size(), kInvalidArgument,
           "the {} name one twice; name each once", name);
}

void check(const SuiteOptions& options, const SuiteTexts& texts, const ModelInfo& model) {
  check_counts(options);
  expect_distinct(options.tasks, "tasks");
  expect_distinct(options.contexts, "contexts");
  expect_distinct(options.modes, "question modes");
  for (int context : options.contexts) {
    SR_CHECK(context >= kShortestContext && context <= model.max_positions, kInvalidArgument,
             "context is {}; it must be between {} and the {} positions of {}", context,
             kShortestContext, model.max_positions, model.name);
    SR_CHECK(options.tokens < context, kInvalidArgument,
             "tokens is {}; it must be less than the context, {}", options.tokens, context);
  }
  const bool code = std::find(options.tasks.begin(), options.tasks.end(),
                              SuiteTask::kPerplexityCode) != options.tasks.end();
  SR_CHECK(!code || !texts.code.empty(), kInvalidArgument,
           "task {} has no text; pass program code with --code", name(SuiteTask::kPerplexityCode));
}

// Before hours of work, not after them.
void check_lengths(TextTokens& tokens, const SuiteOptions& options, const Tokenizer& tokenizer) {
  const int longest = *std::max_element(options.contexts.begin(), options.contexts.end());
  const std::int64_t needed = window_tokens(start_tokens(tokenizer), longest);
  for (SuiteTask task : options.tasks) {
    const bool code = task == SuiteTask::kPerplexityCode;
    const std::size_t available = (code ? tokens.code() : tokens.prose()).size();
    SR_CHECK(static_cast<std::int64_t>(available) >= needed, kInvalidArgument,
             "the text for task {} holds {} tokens and a context of {} needs {}; pass a longer "
             "{}",
             name(task), available, longest, needed, code ? "--code" : "--text");
  }
}

SuiteSettings settings_of(const Engine& engine, const SuiteTexts& texts,
                          const SuiteOptions& options) {
  return {.model = engine.info().name,
          .model_fingerprint = model_fingerprint(engine.options().model),
          .kv_dtype = std::string(name(engine.options().kv_dtype)),
          .page_size = engine.options().page_size,
          .sketch_bits = engine.options().sketch_bits,
          .samples = options.samples,
          .documents = options.documents,
          .tokens = options.tokens,
          .seed = options.seed,
          .prose_fingerprint = text_fingerprint(texts.prose),
          .code_fingerprint = text_fingerprint(texts.code)};
}

// Dense first: every other cell is compared with it.
std::vector<SuitePolicy> policies_to_run(const SuiteOptions& options) {
  std::vector<SuitePolicy> policies{
      {.text = std::string(kSuiteDense), .options = {.kind = PolicyKind::kDense}}};
  for (const SuitePolicy& policy : options.policies) {
    const bool known = std::any_of(policies.begin(), policies.end(), [&](const SuitePolicy& other) {
      return other.text == policy.text;
    });
    if (!known) policies.push_back(policy);
  }
  return policies;
}

std::vector<SuiteMode> modes_of(SuiteTask task, const SuiteOptions& options) {
  return is_perplexity(task) ? std::vector{SuiteMode::kDecode} : options.modes;
}

// What there is to do, the shortest contexts first.
std::vector<DocumentJob> jobs_of(const SuiteOptions& options, std::span<const SuitePolicy> policies,
                                 const SuiteResult& done) {
  std::vector<int> contexts = options.contexts;
  std::sort(contexts.begin(), contexts.end());
  std::vector<DocumentJob> jobs;
  for (int context : contexts) {
    for (SuiteTask task : options.tasks) {
      for (int document = 0; document < options.documents; ++document) {
        DocumentJob job{.task = task, .context = context, .document = document, .cells = {}};
        for (SuiteMode mode : modes_of(task, options)) {
          for (const SuitePolicy& policy : policies) {
            const SuiteCell* cell = find_cell(done, task, context, mode, policy.text);
            if (cell != nullptr && cell->documents > document) continue;
            job.cells.push_back({.mode = mode, .policy = &policy});
          }
        }
        if (!job.cells.empty()) jobs.push_back(std::move(job));
      }
    }
  }
  return jobs;
}

}  // namespace

std::int64_t suite_capacity(const SuiteOptions& options, int page_size) {
  int longest = options.tokens;
  for (int context : options.contexts) longest = std::max(longest, context);
  int question = 0;
  for (SuiteTask task : options.tasks) question = std::max(question, longest_question(task));
  const std::int64_t asked = options.samples / std::max(options.documents, 1) + 1;
  // A question is in the cache without and with its tokens, and once more while it is answered.
  return std::int64_t{longest} + page_size + asked * (question + 4 * page_size) +
         std::int64_t{options.batch} * (question + 2 * page_size);
}

SuiteResult eval_suite(Engine& engine, const SuiteTexts& texts, const SuiteOptions& options,
                       const std::filesystem::path& directory, const Progress& progress) {
  check(options, texts, engine.info());
  TextTokens tokens(engine.tokenizer(), texts);
  check_lengths(tokens, options, engine.tokenizer());
  SuiteStore store(directory, settings_of(engine, texts, options));
  SuiteRunner runner(engine, texts, tokens, options, store);
  const std::vector<SuitePolicy> policies = policies_to_run(options);
  const std::vector<DocumentJob> jobs = jobs_of(options, policies, store.result());
  double whole = 0;
  for (const DocumentJob& job : jobs) whole += job.context;
  double before = 0;
  for (const DocumentJob& job : jobs) {
    const std::string label = fmt::format("{} at {}, document {} of {}", name(job.task),
                                          job.context, job.document + 1, options.documents);
    runner.run(job, [&](std::string_view what, double done) {
      if (progress) {
        progress(fmt::format("{}: {}", label, what), (before + done * job.context) / whole);
      }
    });
    store.save();
    before += job.context;
  }
  return store.result();
}

}  // namespace sinkrouter
