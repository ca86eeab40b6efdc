#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/rng.h"

namespace sinkrouter {

// One way to state a fact and to ask for it; {key} and {value} stand for what is drawn.
struct Wording {
  std::string id;
  std::string set;
  std::string key;    // name of a list of keys
  std::string value;  // name of a kind of values
  std::string fact;
  std::string question;
  std::string answer;
};

struct Fact {
  const Wording* wording = nullptr;
  std::string key;
  std::string value;
};

// Something to hide in a text, as inserted at the start of a line and between two sentences.
struct Statement {
  std::string line;
  std::string sentence;
};

// The contents of needle_wordings.json.
class Wordings {
 public:
  // Throws Error (kInvalidFile) when `json` is not of the documented form.
  explicit Wordings(std::string_view json);

  std::vector<std::string> set_names() const;
  // The wordings of a set, or all of them for "all". Throws Error when there are none.
  std::vector<const Wording*> in_set(std::string_view set) const;
  // Up to `count` facts, no two of them about the same key.
  std::vector<Fact> draw(const std::vector<const Wording*>& choices, int count, Rng& rng) const;

  // A list of keys by its name, and a value of a kind. The names must be known.
  const std::vector<std::string>& keys(const std::string& list) const { return keys_.at(list); }
  std::string draw_value(const std::string& kind, Rng& rng) const;

  // Any text as inserted at the start of a line and between two sentences.
  Statement statement(const std::string& text) const;
  std::string as_question(const std::string& text) const { return question_prefix_ + text; }

  std::string fact(const Fact& fact) const;
  // The fact as inserted at the start of a line or between two sentences.
  std::string fact_line(const Fact& fact) const { return statement(this->fact(fact)).line; }
  std::string fact_sentence(const Fact& fact) const { return statement(this->fact(fact)).sentence; }
  std::string question(const Fact& fact) const;  // as appended to a document
  std::string answer(const Fact& fact) const;    // as a model should continue the question
  // Whether a greedy continuation of the question states the fact's value and nothing more.
  bool is_right(const Fact& fact, std::string_view continuation) const;
  // Whether a continuation has come to its end: a stop text or a line break.
  bool is_complete(std::string_view continuation) const;

 private:
  struct Values {
    int digits = 0;  // 0: one of items
    std::vector<std::string> items;
  };

  struct Surround {
    std::string prefix;
    std::string suffix;
  };

  Surround line_;
  Surround sentence_;
  std::string question_prefix_;
  std::string answer_stop_;
  std::map<std::string, std::string> sets_;
  std::map<std::string, std::vector<std::string>> keys_;
  std::map<std::string, Values> values_;
  std::vector<Wording> wordings_;
};

// The wordings the embedded model was trained with.
Wordings standard_wordings();

}  // namespace sinkrouter
