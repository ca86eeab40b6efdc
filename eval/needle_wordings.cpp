#include "eval/needle_wordings.h"

#include <fmt/ranges.h>

#include <nlohmann/json.hpp>
#include <set>

#include "base/check.h"

namespace sinkrouter {

extern const std::string_view kNeedleWordingsJson;

namespace {

constexpr int kVersion = 1;

std::string replace_all(std::string text, std::string_view name, std::string_view with) {
  for (std::size_t at = text.find(name); at != std::string::npos;
       at = text.find(name, at + with.size())) {
    text.replace(at, name.size(), with);
  }
  return text;
}

std::string fill(const std::string& form, const Fact& fact) {
  return replace_all(replace_all(form, "{key}", fact.key), "{value}", fact.value);
}

std::string_view without_leading_space(std::string_view text) {
  const std::size_t start = text.find_first_not_of(' ');
  return start == std::string_view::npos ? std::string_view{} : text.substr(start);
}

}  // namespace

Wordings::Wordings(std::string_view json) {
  try {
    const auto root = nlohmann::json::parse(json);
    SR_CHECK(root.at("version").get<int>() == kVersion, kInvalidFile,
             "needle wordings: version is not {}", kVersion);
    line_ = {root.at("line_fact_prefix"), root.at("line_fact_suffix")};
    sentence_ = {root.at("sentence_fact_prefix"), root.at("sentence_fact_suffix")};
    question_prefix_ = root.at("question_prefix").get<std::string>();
    answer_stop_ = root.at("answer_stop").get<std::string>();
    sets_ = root.at("sets").get<std::map<std::string, std::string>>();
    keys_ = root.at("keys").get<std::map<std::string, std::vector<std::string>>>();
    for (const auto& [kind, values] : root.at("values").items()) {
      if (values.at("kind") == "digits") {
        values_[kind].digits = values.at("length").get<int>();
      } else {
        values_[kind].items = values.at("items").get<std::vector<std::string>>();
      }
    }
    for (const auto& item : root.at("wordings")) {
      wordings_.push_back({.id = item.at("id"),
                           .set = item.at("set"),
                           .key = item.at("key"),
                           .value = item.at("value"),
                           .fact = item.at("fact"),
                           .question = item.at("question"),
                           .answer = item.at("answer")});
      const Wording& wording = wordings_.back();
      SR_CHECK(!keys_[wording.key].empty() && values_.contains(wording.value), kInvalidFile,
               "needle wordings: {} names an unknown list of keys or values", wording.id);
    }
  } catch (const nlohmann::json::exception& error) {
    throw Error(Error::Kind::kInvalidFile, fmt::format("needle wordings: {}", error.what()));
  }
}

std::vector<std::string> Wordings::set_names() const {
  std::vector<std::string> names;
  for (const auto& [set, about] : sets_) names.push_back(set);
  names.emplace_back("all");
  return names;
}

std::vector<const Wording*> Wordings::in_set(std::string_view set) const {
  std::vector<const Wording*> found;
  for (const Wording& wording : wordings_) {
    if (set == "all" || wording.set == set) found.push_back(&wording);
  }
  SR_CHECK(!found.empty(), kInvalidArgument, "unknown set of wordings '{}'; there are: {}", set,
           fmt::join(set_names(), ", "));
  return found;
}

std::string Wordings::draw_value(const std::string& kind, Rng& rng) const {
  const Values& values = values_.at(kind);
  if (values.digits == 0) return values.items[rng.below(values.items.size())];
  std::string number;
  for (int i = 0; i < values.digits; ++i) number += static_cast<char>('0' + rng.below(10));
  return number;
}

std::vector<Fact> Wordings::draw(const std::vector<const Wording*>& choices, int count,
                                 Rng& rng) const {
  std::vector<Fact> facts;
  std::set<std::string> used;
  for (int attempt = 0; attempt < 16 * count && static_cast<int>(facts.size()) < count; ++attempt) {
    const Wording& wording = *choices[rng.below(choices.size())];
    const std::vector<std::string>& keys = keys_.at(wording.key);
    const std::string& key = keys[rng.below(keys.size())];
    if (!used.insert(key).second) continue;
    facts.push_back({&wording, key, draw_value(wording.value, rng)});
  }
  return facts;
}

std::string Wordings::fact(const Fact& fact) const { return fill(fact.wording->fact, fact); }

Statement Wordings::statement(const std::string& text) const {
  return {.line = line_.prefix + text + line_.suffix,
          .sentence = sentence_.prefix + text + sentence_.suffix};
}

std::string Wordings::question(const Fact& fact) const {
  return question_prefix_ + fill(fact.wording->question, fact);
}

std::string Wordings::answer(const Fact& fact) const { return fill(fact.wording->answer, fact); }

bool Wordings::is_right(const Fact& fact, std::string_view continuation) const {
  const std::string_view said = without_leading_space(continuation);
  if (!said.starts_with(fact.value)) return false;
  const std::string_view rest = said.substr(fact.value.size());
  return rest.empty() || rest.starts_with(answer_stop_) || rest[0] == '\n' || rest[0] == '\r';
}

bool Wordings::is_complete(std::string_view continuation) const {
  return continuation.find(answer_stop_) != std::string_view::npos ||
         continuation.find_first_of("\r\n") != std::string_view::npos;
}

Wordings standard_wordings() { return Wordings(kNeedleWordingsJson); }

}  // namespace sinkrouter
