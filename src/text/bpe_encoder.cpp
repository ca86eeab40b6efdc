#include <algorithm>
#include <iterator>

#include "text/loaded_tokenizer.h"

namespace sinkrouter::text {
namespace {

std::vector<AddedToken> raw_tokens(const std::vector<AddedToken>& tokens) {
  std::vector<AddedToken> raw;
  std::copy_if(tokens.begin(), tokens.end(), std::back_inserter(raw),
               [](const AddedToken& token) { return !token.normalized; });
  return raw;
}

std::vector<AddedToken> normalized_tokens(const std::vector<AddedToken>& tokens,
                                          const Normalizer& normalizer) {
  std::vector<AddedToken> normalized;
  std::size_t bytes = 0;
  for (const AddedToken& token : tokens) bytes += token.content.size();
  const TimeLimit limit(bytes);
  for (AddedToken token : tokens) {
    if (!token.normalized) continue;
    normalizer.apply(limit, token.content);
    const bool is_findable = !token.content.empty() && token.content.size() <= kMaxAddedTokenBytes;
    if (is_findable) normalized.push_back(std::move(token));
  }
  return normalized;
}

}  // namespace

BpeEncoder::BpeEncoder(Normalizer normalizer, PreTokenizer pre_tokenizer, BpeModel model,
                       const std::vector<AddedToken>& added_tokens)
    : normalizer_(std::move(normalizer)),
      pre_tokenizer_(std::move(pre_tokenizer)),
      model_(std::move(model)),
      raw_tokens_(raw_tokens(added_tokens)),
      normalized_tokens_(normalized_tokens(added_tokens, normalizer_)) {}

void BpeEncoder::encode(std::string_view text, bool parse_special, std::vector<int>& out) const {
  const TimeLimit limit(text.size());
  BpeModel::Workspace workspace;
  Words words;
  const auto encode_words = [&](std::string_view part, bool at_start) {
    words.text = part;
    words.spans.assign(1, {0, part.size()});
    pre_tokenizer_.apply(limit, at_start, words);
    for (const Span& word : words.spans) model_.encode(word.of(words.text), workspace, out);
  };
  for (const TextPart& raw : raw_tokens_.find(text, parse_special)) {
    if (raw.id >= 0) {
      out.push_back(raw.id);
      continue;
    }
    std::string normalized(raw.span.of(text));
    normalizer_.apply(limit, normalized);
    for (const TextPart& part : normalized_tokens_.find(normalized, parse_special)) {
      if (part.id >= 0) {
        out.push_back(part.id);
      } else {
        encode_words(part.span.of(normalized), raw.span.begin == 0 && part.span.begin == 0);
      }
    }
  }
}

}  // namespace sinkrouter::text
