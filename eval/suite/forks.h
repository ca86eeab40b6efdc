#pragma once

#include <vector>

#include "eval/reply.h"
#include "eval/suite/exercise.h"
#include "sinkrouter/suite.h"

namespace sinkrouter {

// An exercise's document in the KV cache, and what its questions begin with: everything that is
// prefilled, once for all policies.
class ExerciseForks {
 public:
  // The engine, the document's sequence and the questions must outlive this.
  ExerciseForks(Engine& engine, const Sequence& document,
                std::span<const ExerciseQuestion> questions);

  void prefill_questions();  // before any opening of mode kPrefill
  Opening open(std::size_t index, SuiteMode mode) const;

 private:
  struct Asked {
    Sequence sequence;
    int first = 0;  // token of the answer
  };

  const Sequence& before_question(std::size_t index) const;

  Engine& engine_;
  const Sequence& document_;
  std::span<const ExerciseQuestion> questions_;
  std::vector<Sequence> tailed_;  // one for each question; empty where there is no tail
  std::vector<Asked> asked_;      // none before prefill_questions()
};

}  // namespace sinkrouter
