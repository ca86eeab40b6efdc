#include "eval/suite/exercise.h"

#include <algorithm>

#include "base/check.h"
#include "eval/suite/answer.h"
#include "eval/suite/exercise_kinds.h"
#include "eval/tokens.h"

namespace sinkrouter {
namespace {

constexpr std::string_view kAnswerEnds = ".\r\n";
constexpr int kSpareAnswerTokens = 2;

}  // namespace

double ExerciseQuestion::score(const Reply& reply) const {
  const std::string_view answer =
      std::string_view(reply.text).substr(0, reply.text.find_first_of(kAnswerEnds));
  if (measure == Measure::kCopied) return copied_share(parts, words_of(answer));
  const std::vector<std::string> said = listed_items(answer);
  switch (measure) {
    case Measure::kWhole:
      return said == parts ? 1.0 : 0.0;
    case Measure::kOrdered:
      return ordered_share(parts, said);
    default:
      return unordered_share(parts, said);
  }
}

bool is_complete_answer(std::string_view reply) {
  return reply.find_first_of(kAnswerEnds) != std::string_view::npos;
}

int longest_question(SuiteTask task) { return task == SuiteTask::kWords ? 1024 : 384; }

ExerciseQuestion exercise_question(const ExerciseMaterial& material, const std::string& question,
                                   const std::string& answer, std::vector<std::string> parts,
                                   Measure measure) {
  const std::vector<int> right = plain_tokens(material.tokenizer, answer);
  return {.tokens = plain_tokens(material.tokenizer, question),
          .parts = std::move(parts),
          .measure = measure,
          .answer_limit = static_cast<int>(right.size()) + kSpareAnswerTokens};
}

Exercise exercise_of(const ExerciseMaterial& material, std::span<const Statement> statements,
                     std::vector<ExerciseQuestion> questions, Rng& rng) {
  int longest = 0;
  for (const ExerciseQuestion& question : questions) longest = std::max(longest, question.length());
  const int limit = std::min(longest_question(material.task), material.context / 2);
  SR_CHECK(longest <= limit, kInvalidArgument,
           "task {}: a question and its answer have {} tokens with this tokenizer; a context of {} "
           "has room for {}",
           name(material.task), longest, material.context, limit);
  NeedleDocument document = make_document(material.tokenizer, material.texts, statements,
                                          material.context - longest, rng);
  return {.document = std::move(document.tokens), .questions = std::move(questions)};
}

Exercise make_exercise(const Tokenizer& tokenizer, std::span<const std::string> texts,
                       SuiteTask task, int context, int questions, Rng& rng) {
  const ExerciseMaterial material{.tokenizer = tokenizer,
                                  .texts = texts,
                                  .wordings = standard_wordings(),
                                  .task = task,
                                  .context = context,
                                  .questions = questions};
  switch (task) {
    case SuiteTask::kNeedle:
      return make_needle_exercise(material, rng);
    case SuiteTask::kMultiKey:
      return make_multikey_exercise(material, rng);
    case SuiteTask::kMultiValue:
      return make_multivalue_exercise(material, rng);
    case SuiteTask::kMultiQuery:
      return make_multiquery_exercise(material, rng);
    case SuiteTask::kVariables:
      return make_variables_exercise(material, rng);
    case SuiteTask::kWords:
      return make_words_exercise(material, rng);
    case SuiteTask::kCopy:
      return make_copy_exercise(material, rng);
    case SuiteTask::kPerplexity:
    case SuiteTask::kPerplexityCode:
      break;
  }
  SR_ASSERT(!"perplexity has no questions");
  return {};
}

}  // namespace sinkrouter
