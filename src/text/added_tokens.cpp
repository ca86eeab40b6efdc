#include "text/added_tokens.h"

#include <algorithm>

#include "base/check.h"
#include "text/unicode_standins.h"
#include "text/utf8.h"

namespace sinkrouter::text {
namespace {

std::uint64_t edge(std::int32_t node, char byte) {
  return (static_cast<std::uint64_t>(node) << 8) | static_cast<std::uint8_t>(byte);
}

// Alphabetic, marks, decimal digits, connectors and joiners.
constexpr std::string_view kWordCharacter =
    R"([\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}\x{200C}\x{200D}\x{24B6}-\x{24E9})"
    R"(\x{1F130}-\x{1F149}\x{1F150}-\x{1F169}\x{1F170}-\x{1F189}])";

// Unicode's White_Space.
bool is_space(char32_t character) {
  return (character >= 0x09 && character <= 0x0D) || character == 0x20 || character == 0x85 ||
         character == 0xA0 || character == 0x1680 || (character >= 0x2000 && character <= 0x200A) ||
         character == 0x2028 || character == 0x2029 || character == 0x202F || character == 0x205F ||
         character == 0x3000;
}

std::size_t previous_character(std::string_view text, std::size_t at) {
  do --at;
  while (at > 0 && (text[at] & 0xC0) == 0x80);
  return at;
}

}  // namespace

AddedTokenFinder::AddedTokenFinder(std::vector<AddedToken> tokens)
    : tokens_(std::move(tokens)),
      word_character_(kWordCharacter, Regex::Syntax::kExpression, "added tokens") {
  token_of_node_.push_back(-1);
  for (std::size_t i = 0; i < tokens_.size(); ++i) {
    const std::string& content = tokens_[i].content;
    SR_ASSERT(!content.empty() && content.size() <= kMaxAddedTokenBytes);
    starts_[static_cast<std::uint8_t>(content[0])] = true;
    std::int32_t node = 0;
    for (const char byte : content) {
      const auto next = static_cast<std::int32_t>(token_of_node_.size());
      const auto [child, is_new] = children_.try_emplace(edge(node, byte), next);
      if (is_new) token_of_node_.push_back(-1);
      node = child->second;
    }
    if (token_of_node_[node] < 0) token_of_node_[node] = static_cast<std::int32_t>(i);
  }
}

const AddedToken* AddedTokenFinder::longest_at(std::string_view text, std::size_t at) const {
  if (!starts_[static_cast<std::uint8_t>(text[at])]) return nullptr;
  const AddedToken* longest = nullptr;
  std::int32_t node = 0;
  for (; at < text.size(); ++at) {
    const auto child = children_.find(edge(node, text[at]));
    if (child == children_.end()) break;
    node = child->second;
    if (token_of_node_[node] >= 0) longest = &tokens_[token_of_node_[node]];
  }
  return longest;
}

bool AddedTokenFinder::is_whole_word(std::string_view text, const Span& span) const {
  const auto is_word = [&](std::size_t at) {
    const std::string character = with_unicode_standins(text.substr(at, utf8_length(text[at])));
    const TimeLimit limit(character.size());
    return RegexMatcher(word_character_, character.size(), limit).next(character).has_value();
  };
  if (span.begin > 0 && is_word(previous_character(text, span.begin))) return false;
  return span.end == text.size() || !is_word(span.end);
}

std::vector<TextPart> AddedTokenFinder::find(std::string_view text, bool parse_special) const {
  std::vector<TextPart> parts;
  std::size_t done = 0;
  for (std::size_t at = 0; at < text.size();) {
    const AddedToken* token = longest_at(text, at);
    if (token == nullptr) {
      ++at;
      continue;
    }
    Span span{at, at + token->content.size()};
    at = span.end;
    if (token->special && !parse_special) continue;
    if (token->single_word && !is_whole_word(text, span)) continue;
    while (token->lstrip && span.begin > done) {
      const std::size_t previous = previous_character(text, span.begin);
      if (!is_space(utf8_decode(text, previous))) break;
      span.begin = previous;
    }
    while (token->rstrip && span.end < text.size() && is_space(utf8_decode(text, span.end))) {
      span.end += utf8_length(text[span.end]);
    }
    if (span.begin > done) parts.push_back({{done, span.begin}});
    parts.push_back({span, token->id});
    done = at = span.end;
  }
  if (done < text.size()) parts.push_back({{done, text.size()}});
  return parts;
}

}  // namespace sinkrouter::text
