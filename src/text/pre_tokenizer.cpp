#include "text/pre_tokenizer.h"

#include <algorithm>
#include <map>

#include "base/check.h"
#include "base/quotes.h"
#include "text/byte_level.h"
#include "text/metaspace.h"
#include "text/replace.h"
#include "text/unicode_standins.h"
#include "text/utf8.h"

namespace sinkrouter::text {
namespace {

constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

// Rewrites each word by `rewrite(word, is_first, out)`, which appends the new one.
template <typename Rewrite>
void rewrite_words(Words& words, const Rewrite& rewrite) {
  std::string text;
  text.reserve(words.text.size());
  bool is_first = true;
  for (Span& span : words.spans) {
    const std::size_t begin = text.size();
    rewrite(span.of(words.text), is_first, text);
    span = {begin, text.size()};
    is_first = false;
  }
  words.text = std::move(text);
}

}  // namespace

PreTokenizer::PreTokenizer(const JsonField& field) { parse(field); }

PreTokenizer PreTokenizer::byte_level(Regex pattern) {
  PreTokenizer result;
  result.steps_.push_back(Split{std::move(pattern), Behavior::kIsolated});
  result.steps_.push_back(SpellBytes{});
  return result;
}

void PreTokenizer::parse(const JsonField& field) {
  const JsonField type_field = field.at("type");
  const std::string type = type_field.string();
  if (steps_.size() >= kMaxSteps) field.fail(fmt::format("more than {} steps", kMaxSteps));
  if (type == "Sequence") {
    for (const JsonField& item : field.at("pretokenizers").items()) parse(item);
  } else if (type == "Split") {
    parse_split(field);
  } else if (type == "ByteLevel") {
    parse_byte_level(field);
  } else if (type == "Digits") {
    const bool individual = field.boolean_or("individual_digits", false);
    steps_.push_back(Split{Regex(R"(\p{N})", Regex::Syntax::kExpression, field.where()),
                           individual ? Behavior::kIsolated : Behavior::kContiguous});
  } else if (type == "Metaspace") {
    parse_metaspace(field);
  } else {
    type_field.fail(
        fmt::format("pre-tokenizer {} is not supported, expected Split, ByteLevel, "
                    "Digits, Metaspace or Sequence",
                    in_quotes(type)));
  }
}

void PreTokenizer::parse_split(const JsonField& field) {
  static const std::map<std::string, Behavior, std::less<>> kBehaviors = {
      {"Removed", Behavior::kRemoved},
      {"Isolated", Behavior::kIsolated},
      {"MergedWithPrevious", Behavior::kMergedWithPrevious},
      {"MergedWithNext", Behavior::kMergedWithNext},
      {"Contiguous", Behavior::kContiguous},
  };
  const JsonField name_field = field.at("behavior");
  const std::string name = name_field.string();
  const auto behavior = kBehaviors.find(name);
  if (behavior == kBehaviors.end()) {
    name_field.fail(
        fmt::format("{} is unknown, expected Removed, Isolated, MergedWithPrevious, "
                    "MergedWithNext or Contiguous",
                    in_quotes(name)));
  }
  steps_.push_back(Split{parse_pattern(field.at("pattern")), behavior->second,
                         field.boolean_or("invert", false)});
}

void PreTokenizer::parse_byte_level(const JsonField& field) {
  if (field.boolean_or("add_prefix_space", true)) steps_.push_back(Prefix{" "});
  if (field.boolean_or("use_regex", true)) {
    steps_.push_back(
        Split{Regex(kGpt2Pattern, Regex::Syntax::kExpression, field.where()), Behavior::kIsolated});
  }
  steps_.push_back(SpellBytes{});
}

void PreTokenizer::parse_metaspace(const JsonField& field) {
  using Prepend = MetaspaceOptions::Prepend;
  const MetaspaceOptions options = text::parse_metaspace(field);
  steps_.push_back(ReplaceSpaces{options.replacement});
  if (options.prepend != Prepend::kNever) {
    steps_.push_back(Prefix{options.replacement, options.prepend == Prepend::kFirst});
  }
  if (field.boolean_or("split", true)) {
    steps_.push_back(Split{Regex(options.replacement, Regex::Syntax::kLiteral, field.where()),
                           Behavior::kMergedWithNext});
  }
}

bool PreTokenizer::is_byte_level() const {
  return std::any_of(steps_.begin(), steps_.end(),
                     [](const auto& step) { return std::holds_alternative<SpellBytes>(step); });
}

void PreTokenizer::apply(const TimeLimit& limit, bool at_start, Words& words) const {
  const std::size_t before = words.text.size();
  for (const auto& step : steps_) {
    std::visit([&](const auto& concrete) { run(concrete, limit, at_start, words); }, step);
    check_growth(before, words.text.size(), "tokenizer.json: pre_tokenizer");
  }
}

void PreTokenizer::run(const Split& step, const TimeLimit& limit, bool, Words& words) {
  const std::string subjects = with_unicode_standins(words.text);
  RegexMatcher matcher(step.pattern, subjects.size(), limit);
  std::vector<Span> out;
  std::vector<Piece> pieces;
  for (const Span& span : words.spans) {
    const std::string_view subject = span.of(subjects);
    pieces.clear();
    const auto append = [&](std::size_t begin, std::size_t end, bool is_match) {
      pieces.push_back({{span.begin + begin, span.begin + end}, is_match != step.invert});
    };
    std::size_t done = 0;
    while (const auto match = matcher.next(subject)) {
      if (match->begin > done) append(done, match->begin, false);
      append(match->begin, match->end, true);
      done = match->end;
    }
    if (done < subject.size()) append(done, subject.size(), false);
    cut(step, pieces, out);
  }
  words.spans = std::move(out);
}

void PreTokenizer::cut(const Split& step, std::vector<Piece>& pieces, std::vector<Span>& out) {
  const auto backwards = step.behavior == Behavior::kMergedWithNext;
  if (backwards) std::reverse(pieces.begin(), pieces.end());
  const auto first = static_cast<std::ptrdiff_t>(out.size());
  bool previous_match = false;
  for (const Piece& piece : pieces) {
    const bool has_previous = static_cast<std::ptrdiff_t>(out.size()) > first;
    bool joins = false;
    switch (step.behavior) {
      case Behavior::kRemoved:
      case Behavior::kIsolated:
        break;
      case Behavior::kMergedWithPrevious:
      case Behavior::kMergedWithNext:
        joins = piece.is_match && !previous_match && has_previous;
        break;
      case Behavior::kContiguous:
        joins = piece.is_match == previous_match && has_previous;
        break;
    }
    previous_match = piece.is_match;
    if (joins && backwards) {
      out.back().begin = piece.span.begin;
    } else if (joins) {
      out.back().end = piece.span.end;
    } else if (step.behavior != Behavior::kRemoved || !piece.is_match) {
      out.push_back(piece.span);
    }
  }
  if (backwards) std::reverse(out.begin() + first, out.end());
  out.erase(std::remove_if(out.begin() + first, out.end(),
                           [](const Span& span) { return span.size() == 0; }),
            out.end());
}

void PreTokenizer::run(const Prefix& step, const TimeLimit&, bool at_start, Words& words) {
  rewrite_words(words, [&](std::string_view word, bool is_first, std::string& out) {
    const bool applies = !step.only_at_start || (at_start && is_first);
    if (applies && !word.starts_with(step.prefix)) out += step.prefix;
    out += word;
  });
}

void PreTokenizer::run(const ReplaceSpaces& step, const TimeLimit&, bool, Words& words) {
  rewrite_words(words, [&](std::string_view word, bool, std::string& out) {
    for (const char c : word) {
      if (c == ' ') {
        out += step.replacement;
      } else {
        out += c;
      }
    }
  });
}

void PreTokenizer::run(const SpellBytes&, const TimeLimit&, bool, Words& words) {
  rewrite_words(
      words, [](std::string_view word, bool, std::string& out) { append_byte_level(word, out); });
}

}  // namespace sinkrouter::text
