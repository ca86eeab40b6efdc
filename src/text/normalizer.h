#pragma once

#include <string>
#include <variant>
#include <vector>

#include "json/json_field.h"
#include "text/regex.h"

namespace sinkrouter::text {

// tokenizer.json's "normalizer": rewrites the text before anything is split.
class Normalizer {
 public:
  Normalizer() = default;
  explicit Normalizer(const JsonField& field) { parse(field); }

  void apply(const TimeLimit& limit, std::string& text) const;

 private:
  struct Prepend {
    std::string prefix;
  };
  struct Replace {
    Regex pattern;
    std::string content;
  };

  void parse(const JsonField& field);
  static void run(const Prepend& step, const TimeLimit& limit, std::string& text);
  static void run(const Replace& step, const TimeLimit& limit, std::string& text);

  std::vector<std::variant<Prepend, Replace>> steps_;
};

}  // namespace sinkrouter::text
