#include "eval/suite/forks.h"

#include "base/check.h"
#include "eval/tokens.h"

namespace sinkrouter {

ExerciseForks::ExerciseForks(Engine& engine, const Sequence& document,
                             std::span<const ExerciseQuestion> questions)
    : engine_(engine), document_(document), questions_(questions) {
  for (const ExerciseQuestion& question : questions) {
    Sequence& sequence = tailed_.emplace_back();
    if (question.tail.empty()) continue;
    sequence = engine.fork(document);
    engine.prefill(sequence, question.tail);
  }
}

void ExerciseForks::prefill_questions() {
  if (!asked_.empty()) return;
  for (std::size_t i = 0; i < questions_.size(); ++i) {
    Asked asked{.sequence = engine_.fork(before_question(i))};
    asked.first = arg_max(engine_.prefill(asked.sequence, questions_[i].tokens));
    asked_.push_back(std::move(asked));
  }
}

Opening ExerciseForks::open(std::size_t index, SuiteMode mode) const {
  const ExerciseQuestion& question = questions_[index];
  if (mode == SuiteMode::kDecode) {
    return {.sequence = engine_.fork(before_question(index)),
            .question = question.tokens,
            .answer_limit = question.answer_limit};
  }
  SR_ASSERT(asked_.size() == questions_.size());
  return {.sequence = engine_.fork(asked_[index].sequence),
          .question = {},
          .first = asked_[index].first,
          .answer_limit = question.answer_limit};
}

const Sequence& ExerciseForks::before_question(std::size_t index) const {
  return questions_[index].tail.empty() ? document_ : tailed_[index];
}

}  // namespace sinkrouter
