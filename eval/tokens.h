#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sinkrouter/engine.h"

namespace sinkrouter {

// The beginning-of-text token, or nothing for a model without one.
std::vector<int> start_tokens(const Tokenizer& tokenizer);
// Tokens of text that continues other text: no special tokens added or recognised.
std::vector<int> plain_tokens(const Tokenizer& tokenizer, std::string_view text);
// start_tokens and the tokens of the texts one after another.
std::vector<int> text_tokens(const Tokenizer& tokenizer, std::span<const std::string> texts);

// Whether a model ends its text with this token.
bool is_stop_token(const Tokenizer& tokenizer, int token);
// The text of one token, for people to read.
std::string token_text(const Tokenizer& tokenizer, int token);
int arg_max(std::span<const float> logits);

}  // namespace sinkrouter
