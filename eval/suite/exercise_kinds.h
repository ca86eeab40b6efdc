#pragma once

#include "eval/needle_document.h"
#include "eval/needle_wordings.h"
#include "eval/suite/exercise.h"

namespace sinkrouter {

// What an exercise is made of.
struct ExerciseMaterial {
  const Tokenizer& tokenizer;
  std::span<const std::string> texts;
  Wordings wordings;
  SuiteTask task;
  int context = 0;
  int questions = 0;
};

// `question` as it follows the document, `answer` as a perfect model goes on.
ExerciseQuestion exercise_question(const ExerciseMaterial& material, const std::string& question,
                                   const std::string& answer, std::vector<std::string> parts,
                                   Measure measure);

// The statements hidden in a document that leaves room for the longest of the questions. Throws
// Error when that is more than longest_question() or half of the context.
Exercise exercise_of(const ExerciseMaterial& material, std::span<const Statement> statements,
                     std::vector<ExerciseQuestion> questions, Rng& rng);

// The forms of all tasks are those of tools/train/tasks.py, which the embedded model has learned.

Exercise make_needle_exercise(const ExerciseMaterial& material, Rng& rng);
Exercise make_multikey_exercise(const ExerciseMaterial& material, Rng& rng);
Exercise make_multivalue_exercise(const ExerciseMaterial& material, Rng& rng);
Exercise make_multiquery_exercise(const ExerciseMaterial& material, Rng& rng);
Exercise make_variables_exercise(const ExerciseMaterial& material, Rng& rng);
Exercise make_words_exercise(const ExerciseMaterial& material, Rng& rng);
Exercise make_copy_exercise(const ExerciseMaterial& material, Rng& rng);

}  // namespace sinkrouter
