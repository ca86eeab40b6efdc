#include "eval/suite/text_tokens.h"

#include "eval/tokens.h"

namespace sinkrouter {

const std::vector<int>& TextTokens::of(std::span<const std::string> texts,
                                       std::vector<int>& tokens) const {
  if (!tokens.empty()) return tokens;
  for (const std::string& text : texts) {
    const std::vector<int> more = plain_tokens(tokenizer_, text);
    tokens.insert(tokens.end(), more.begin(), more.end());
  }
  return tokens;
}

}  // namespace sinkrouter
