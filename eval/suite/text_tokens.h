#pragma once

#include <span>
#include <string>
#include <vector>

#include "sinkrouter/suite.h"

namespace sinkrouter {

// Tokens of the texts that perplexity tasks read, without special ones; made when first asked for.
class TextTokens {
 public:
  // Both must outlive this.
  TextTokens(const Tokenizer& tokenizer, const SuiteTexts& texts)
      : tokenizer_(tokenizer), texts_(texts) {}

  const std::vector<int>& prose() { return of(texts_.prose, prose_); }
  const std::vector<int>& code() { return of(texts_.code, code_); }

 private:
  const std::vector<int>& of(std::span<const std::string> texts, std::vector<int>& tokens) const;

  const Tokenizer& tokenizer_;
  const SuiteTexts& texts_;
  std::vector<int> prose_;
  std::vector<int> code_;
};

}  // namespace sinkrouter
