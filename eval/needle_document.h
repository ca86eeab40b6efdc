#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/rng.h"
#include "eval/needle_wordings.h"
#include "sinkrouter/tokenizer.h"

namespace sinkrouter {

struct NeedleDocument {
  std::vector<int> tokens;     // the beginning-of-text token first
  std::vector<double> depths;  // of each statement, as a share of the document
};

// A document of exactly `token_count` tokens: the texts in random order from a random line on, the
// statements between lines or sentences, in their order and evenly spread. Throws Error when the
// texts are too short for it.
NeedleDocument make_document(const Tokenizer& tokenizer, std::span<const std::string> texts,
                             std::span<const Statement> statements, int token_count, Rng& rng);
NeedleDocument make_needle_document(const Tokenizer& tokenizer, std::span<const std::string> texts,
                                    const Wordings& wordings, std::span<const Fact> facts,
                                    int token_count, Rng& rng);

}  // namespace sinkrouter
