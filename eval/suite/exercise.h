#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/rng.h"
#include "eval/reply.h"
#include "sinkrouter/suite.h"

namespace sinkrouter {

// How an answer is scored.
enum class Measure {
  kWhole,      // the one part and nothing else
  kOrdered,    // parts in their places
  kUnordered,  // parts anywhere
  kCopied      // words before the first wrong one
};

struct ExerciseQuestion {
  std::vector<int> tail{};         // the question's own end of the document
  std::vector<int> tokens;         // of the question
  std::vector<std::string> parts;  // of the answer; words when it is copied
  Measure measure = Measure::kWhole;
  int answer_limit = 0;  // tokens a reply may have, a little more than the right one

  // Tokens beside the document that it all has.
  int length() const { return static_cast<int>(tail.size() + tokens.size()) + answer_limit; }
  double score(const Reply& reply) const;  // 0 to 1
};

// Whether a reply has come to its end.
bool is_complete_answer(std::string_view reply);

// A document and questions about it. It and the longest question have exactly the tokens of the
// context asked for.
struct Exercise {
  std::vector<int> document;
  std::vector<ExerciseQuestion> questions;
};

// Tokens of any question beside the document.
int longest_question(SuiteTask task);

// Any task but perplexity. Throws Error (kInvalidArgument) when the texts or the context are too
// short for it.
Exercise make_exercise(const Tokenizer& tokenizer, std::span<const std::string> texts,
                       SuiteTask task, int context, int questions, Rng& rng);

}  // namespace sinkrouter
