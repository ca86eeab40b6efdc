#include <algorithm>

#include "base/check.h"
#include "eval/suite/draw.h"
#include "eval/suite/exercise_kinds.h"

namespace sinkrouter {
namespace {

constexpr int kTokensPerFact = 128;  // of context, where there are many facts
constexpr int kMostFacts = 64;

Exercise facts_exercise(const ExerciseMaterial& material,
                        const std::vector<const Wording*>& choices, int count, Rng& rng) {
  const Wordings& wordings = material.wordings;
  const std::vector<Fact> facts = wordings.draw(choices, count, rng);
  SR_CHECK(static_cast<int>(facts.size()) >= material.questions, kInvalidArgument,
           "task {}: the wordings have no {} different questions for one document; ask for more "
           "documents",
           name(material.task), material.questions);
  std::vector<Statement> statements;
  for (const Fact& fact : facts) statements.push_back(wordings.statement(wordings.fact(fact)));
  std::vector<ExerciseQuestion> questions;
  for (const Fact& fact : some_of(facts, static_cast<std::size_t>(material.questions), rng)) {
    questions.push_back(exercise_question(material, wordings.question(fact), wordings.answer(fact),
                                          {fact.value}, Measure::kWhole));
  }
  return exercise_of(material, statements, std::move(questions), rng);
}

}  // namespace

// As many facts as questions, in different wordings.
Exercise make_needle_exercise(const ExerciseMaterial& material, Rng& rng) {
  return facts_exercise(material, material.wordings.in_set("standard"), material.questions, rng);
}

// Facts of one wording, more than are asked for, so that only the key tells them apart.
Exercise make_multikey_exercise(const ExerciseMaterial& material, Rng& rng) {
  const std::vector<const Wording*> all = material.wordings.in_set("standard");
  const int count =
      std::max(material.questions, std::min(material.context / kTokensPerFact, kMostFacts));
  return facts_exercise(material, {all[rng.below(all.size())]}, count, rng);
}

}  // namespace sinkrouter
