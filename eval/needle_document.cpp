#include "eval/needle_document.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/check.h"
#include "eval/tokens.h"

namespace sinkrouter {
namespace {

constexpr int kMaxFits = 24;

// The largest offset <= `at` at which a character of the text spots.
std::size_t character_start(std::string_view text, std::size_t at) {
  if (at >= text.size()) return text.size();
  while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xc0) == 0x80) --at;
  return at;
}

// The texts in random order, turned so that they begin with a random line.
std::string shuffled_filler(std::span<const std::string> texts, Rng& rng) {
  std::vector<const std::string*> order;
  for (const std::string& text : texts) order.push_back(&text);
  for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[rng.below(i)]);
  std::string filler;
  for (const std::string* text : order) filler += *text + "\n";
  const std::size_t cut = filler.find('\n', rng.below(filler.size()));
  std::rotate(filler.begin(), filler.begin() + static_cast<std::ptrdiff_t>(cut + 1), filler.end());
  return filler;
}

// Offsets where a fact can go: spots of lines that are not empty, ends of sentences.
std::vector<std::size_t> fact_spots(std::string_view text) {
  constexpr std::string_view kSentenceEnds = ".?!";
  std::vector<std::size_t> spots;
  for (std::size_t at = 1; at < text.size(); ++at) {
    const char before = text[at - 1];
    const char after = text[at];
    const bool line = before == '\n' && after != '\n' && after != '\r';
    const bool sentence = kSentenceEnds.find(before) != std::string_view::npos && after == ' ' &&
                          at + 1 < text.size() && text[at + 1] >= 'A' && text[at + 1] <= 'Z';
    if (line || sentence) spots.push_back(at);
  }
  return spots;
}

struct HiddenStatements {
  std::string text;
  std::vector<double> depths;
};

HiddenStatements hide(std::string_view filler, std::span<const Statement> statements) {
  const std::vector<std::size_t> spots = fact_spots(filler);
  SR_CHECK(spots.size() >= statements.size(), kInvalidArgument,
           "the context has too few lines and sentences to hide {} facts in each document; "
           "ask for more documents, fewer samples or a longer context",
           statements.size());
  HiddenStatements hidden;
  std::size_t done = 0;
  std::size_t next = 0;  // of spots
  for (std::size_t i = 0; i < statements.size(); ++i) {
    const double target =
        (static_cast<double>(i) + 0.5) / static_cast<double>(statements.size()) * filler.size();
    const std::size_t last =
        spots.size() - (statements.size() - i);  // leaves one for each later fact
    while (next < last && static_cast<double>(spots[next]) < target) ++next;
    hidden.text += filler.substr(done, spots[next] - done);
    hidden.text += filler[spots[next] - 1] == '\n' ? statements[i].line : statements[i].sentence;
    hidden.depths.push_back(static_cast<double>(spots[next]) / static_cast<double>(filler.size()));
    done = spots[next++];
  }
  hidden.text += filler.substr(done);
  hidden.text.erase(hidden.text.find_last_not_of(" \t\r\n") + 1);
  return hidden;
}

}  // namespace

NeedleDocument make_document(const Tokenizer& tokenizer, std::span<const std::string> texts,
                             std::span<const Statement> statements, int token_count, Rng& rng) {
  const std::string filler = shuffled_filler(texts, rng);
  const std::vector<int> start = start_tokens(tokenizer);
  const auto wanted = static_cast<std::int64_t>(token_count) - static_cast<int>(start.size());
  // The document is a little too long at first and loses tokens at its beginning, before the first
  // fact, so that its end stays the end of a line or word.
  const std::int64_t slack = std::max<std::int64_t>(
      8, wanted / (8 * std::max<std::int64_t>(1, static_cast<std::int64_t>(statements.size()))));
  double bytes = 3.5 * static_cast<double>(wanted);
  double too_short = 0;
  double too_long = std::numeric_limits<double>::infinity();
  for (int fit = 0; fit < kMaxFits; ++fit) {
    const std::size_t end =
        character_start(filler, static_cast<std::size_t>(std::max(bytes, 64.0)));
    const HiddenStatements hidden = hide(std::string_view(filler).substr(0, end), statements);
    const std::vector<int> ids = plain_tokens(tokenizer, hidden.text);
    const std::int64_t excess = static_cast<std::int64_t>(ids.size()) - wanted;
    if (excess >= 0 && excess <= slack) {
      NeedleDocument document{.tokens = start, .depths = hidden.depths};
      document.tokens.insert(document.tokens.end(), ids.begin() + excess, ids.end());
      return document;
    }
    SR_CHECK(excess >= 0 || end < filler.size(), kInvalidArgument,
             "the text holds about {} tokens and a document needs {}; pass a longer --text",
             ids.size(), wanted);
    const double bytes_per_token = static_cast<double>(hidden.text.size()) /
                                   static_cast<double>(std::max<std::size_t>(ids.size(), 1));
    (excess < 0 ? too_short : too_long) = bytes;
    bytes += bytes_per_token * static_cast<double>(slack / 2 - excess);
    // Where the text is much denser or thinner than on average, that step can go back and forth.
    if (bytes <= too_short || bytes >= too_long) bytes = (too_short + too_long) / 2;
    SR_CHECK(bytes >= 1, kInvalidArgument,
             "a document of {} tokens has no room for {} facts; use a longer context or more "
             "documents",
             token_count, statements.size());
  }
  throw Error(
      Error::Kind::kInvalidArgument,
      fmt::format("no document of exactly {} tokens could be made from the text", token_count));
}

NeedleDocument make_needle_document(const Tokenizer& tokenizer, std::span<const std::string> texts,
                                    const Wordings& wordings, std::span<const Fact> facts,
                                    int token_count, Rng& rng) {
  std::vector<Statement> statements;
  for (const Fact& fact : facts) statements.push_back(wordings.statement(wordings.fact(fact)));
  return make_document(tokenizer, texts, statements, token_count, rng);
}

}  // namespace sinkrouter
