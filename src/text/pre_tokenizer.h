#pragma once

#include <string>
#include <variant>
#include <vector>

#include "json/json_field.h"
#include "text/regex.h"

namespace sinkrouter::text {

// A text in rewriting, and the words it is cut into so far.
struct Words {
  std::string text;
  std::vector<Span> spans;
};

// tokenizer.json's "pre_tokenizer": cuts the text into words that BPE never merges across.
class PreTokenizer {
 public:
  PreTokenizer() = default;
  explicit PreTokenizer(const JsonField& field);
  // Cuts by `pattern` and spells bytes as characters, as GPT and Llama 3 do.
  static PreTokenizer byte_level(Regex pattern);

  // `at_start`: no other part of the text comes before.
  void apply(const TimeLimit& limit, bool at_start, Words& words) const;

  bool is_byte_level() const;

 private:
  enum class Behavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };

  struct Split {
    Regex pattern;
    Behavior behavior;
    bool invert = false;
  };
  struct Prefix {
    std::string prefix;  // put before every word that does not start with it
    bool only_at_start = false;
  };
  struct ReplaceSpaces {
    std::string replacement;
  };
  struct SpellBytes {};
  struct Piece {
    Span span;
    bool is_match;
  };

  void parse(const JsonField& field);
  void parse_split(const JsonField& field);
  void parse_byte_level(const JsonField& field);
  void parse_metaspace(const JsonField& field);

  static void run(const Split& step, const TimeLimit& limit, bool at_start, Words& words);
  static void run(const Prefix& step, const TimeLimit& limit, bool at_start, Words& words);
  static void run(const ReplaceSpaces& step, const TimeLimit& limit, bool at_start, Words& words);
  static void run(const SpellBytes& step, const TimeLimit& limit, bool at_start, Words& words);
  static void cut(const Split& step, std::vector<Piece>& pieces, std::vector<Span>& out);

  std::vector<std::variant<Split, Prefix, ReplaceSpaces, SpellBytes>> steps_;
};

}  // namespace sinkrouter::text
