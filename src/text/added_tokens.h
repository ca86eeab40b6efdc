#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/regex.h"

namespace sinkrouter::text {

// A token that is found in the text itself, before any splitting or merging.
struct AddedToken {
  std::string content;
  int id = 0;
  bool special = false;
  bool lstrip = false;       // takes the spaces before it along
  bool rstrip = false;       // and those behind it
  bool single_word = false;  // only where no letter or digit touches it
  bool normalized = false;   // looked for in the normalized text
};

inline constexpr std::size_t kMaxAddedTokenBytes = 512;

// A stretch of the text: an added token, or text between (id < 0).
struct TextPart {
  Span span;
  int id = -1;
};

// Finds added tokens in a text, the longest at each place.
class AddedTokenFinder {
 public:
  explicit AddedTokenFinder(std::vector<AddedToken> tokens);

  // The parts in order, none empty; together the whole text. Unless `parse_special`, special tokens
  // stay text.
  std::vector<TextPart> find(std::string_view text, bool parse_special) const;

 private:
  const AddedToken* longest_at(std::string_view text, std::size_t at) const;
  bool is_whole_word(std::string_view text, const Span& span) const;

  std::vector<AddedToken> tokens_;
  std::vector<std::int32_t> token_of_node_;  // index into tokens_; -1: none ends here
  std::unordered_map<std::uint64_t, std::int32_t> children_;  // of (node, byte)
  bool starts_[256] = {};                                     // bytes that some token starts with
  Regex word_character_;
};

}  // namespace sinkrouter::text
