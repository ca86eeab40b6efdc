#include "text/normalizer.h"

#include "base/quotes.h"
#include "text/replace.h"

namespace sinkrouter::text {

void Normalizer::parse(const JsonField& field) {
  const JsonField type_field = field.at("type");
  const std::string type = type_field.string();
  if (steps_.size() >= kMaxSteps) field.fail("more than " + std::to_string(kMaxSteps) + " steps");
  if (type == "Sequence") {
    for (const JsonField& item : field.at("normalizers").items()) parse(item);
  } else if (type == "Prepend") {
    steps_.push_back(Prepend{parse_replacement(field.at("prepend"))});
  } else if (type == "Replace") {
    steps_.push_back(
        Replace{parse_pattern(field.at("pattern")), parse_replacement(field.at("content"))});
  } else {
    type_field.fail("normalizer " + in_quotes(type) +
                    " is not supported, expected Prepend, Replace or Sequence");
  }
}

void Normalizer::apply(const TimeLimit& limit, std::string& text) const {
  const std::size_t before = text.size();
  for (const auto& step : steps_) {
    std::visit([&](const auto& concrete) { run(concrete, limit, text); }, step);
    check_growth(before, text.size(), "tokenizer.json: normalizer");
  }
}

void Normalizer::run(const Prepend& step, const TimeLimit&, std::string& text) {
  if (!text.empty()) text.insert(0, step.prefix);
}

void Normalizer::run(const Replace& step, const TimeLimit& limit, std::string& text) {
  replace_all(step.pattern, step.content, limit, text);
}

}  // namespace sinkrouter::text
