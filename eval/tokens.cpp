#include "eval/tokens.h"

#include <algorithm>

#include "base/check.h"
#include "sinkrouter/eval.h"

namespace sinkrouter {

std::vector<int> start_tokens(const Tokenizer& tokenizer) {
  const std::optional<int> bos = tokenizer.bos_id();
  return bos ? std::vector<int>{*bos} : std::vector<int>{};
}

std::vector<int> plain_tokens(const Tokenizer& tokenizer, std::string_view text) {
  return tokenizer.encode(text, {.add_special = false, .parse_special = false});
}

std::vector<int> text_tokens(const Tokenizer& tokenizer, std::span<const std::string> texts) {
  std::vector<int> tokens = start_tokens(tokenizer);
  for (const std::string& text : texts) {
    const std::vector<int> more = plain_tokens(tokenizer, text);
    tokens.insert(tokens.end(), more.begin(), more.end());
  }
  return tokens;
}

std::vector<int> first_tokens(const Tokenizer& tokenizer, std::span<const std::string> texts,
                              int count) {
  std::vector<int> tokens = text_tokens(tokenizer, texts);
  SR_CHECK(count >= 1 && static_cast<std::size_t>(count) <= tokens.size(), kInvalidArgument,
           "the text holds {} tokens and {} are needed; pass a longer --text", tokens.size(),
           count);
  tokens.resize(static_cast<std::size_t>(count));
  return tokens;
}

bool is_stop_token(const Tokenizer& tokenizer, int token) {
  const std::span<const int> stops = tokenizer.stop_ids();
  return std::find(stops.begin(), stops.end(), token) != stops.end();
}

std::string token_text(const Tokenizer& tokenizer, int token) {
  if (tokenizer.is_special(token)) return std::string(tokenizer.piece(token));
  return tokenizer.decode(std::span(&token, 1));
}

int arg_max(std::span<const float> logits) {
  return static_cast<int>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

}  // namespace sinkrouter
