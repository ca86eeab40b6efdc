#pragma once

#include <string_view>
#include <vector>

#include "text/loaded_tokenizer.h"

namespace sinkrouter {

// Uses a tokenizer that a fuzzer's input made: every id it gives must be one of its own.
inline void probe(const text::LoadedTokenizer& tokenizer) {
  for (const text::Token& token : tokenizer.tokens) {
    for (const bool is_first : {false, true}) tokenizer.decoder.bytes_of(token.piece, is_first);
  }
  for (const std::string_view sample :
       {"", "the  hello\n\n 123 don't", "<s> <|a|> tool\t",
        "\u2581é\u3042🦙\u0301\u180E\U00031350", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}) {
    for (const bool parse_special : {false, true}) {
      std::vector<int> ids;
      tokenizer.encoder->encode(sample, parse_special, ids);
      for (const int id : ids) {
        if (id < 0 || static_cast<std::size_t>(id) >= tokenizer.tokens.size()) __builtin_trap();
      }
    }
  }
}

}  // namespace sinkrouter
