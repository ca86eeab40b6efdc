#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/check.h"
#include "eval/suite/draw.h"
#include "eval/suite/exercise_kinds.h"

namespace sinkrouter {
namespace {

constexpr std::size_t kValues = 3;   // of one key
constexpr std::size_t kKeys = 3;     // in one question
constexpr std::size_t kNames = 4;    // in one chain
constexpr std::size_t kPerNoun = 8;  // keys that a noun is told of

struct Noun {
  const char* text;
  const char* values;  // a kind of needle_wordings.json
};
constexpr std::array kNouns{Noun{"special number", "digits5"}, Noun{"secret code", "digits6"},
                            Noun{"colour", "color"}, Noun{"animal", "animal"},
                            Noun{"pin", "digits4"}};
constexpr std::array kKeyLists{"city", "person"};

std::vector<std::string> draw_values(const ExerciseMaterial& material, const Noun& noun,
                                     std::size_t count, Rng& rng) {
  return distinct(count, [&] { return material.wordings.draw_value(noun.values, rng); });
}

std::string variable_name(Rng& rng) {
  std::string name;
  for (int i = 0; i < 3; ++i) name += static_cast<char>('A' + rng.below(26));
  return name;
}

// Several runs of statements, one after another's turn: those of each run stay in their order.
std::vector<Statement> interleaved(const Wordings& wordings,
                                   const std::vector<std::vector<std::string>>& runs) {
  std::vector<Statement> statements;
  std::size_t longest = 0;
  for (const auto& run : runs) longest = std::max(longest, run.size());
  for (std::size_t i = 0; i < longest; ++i) {
    for (const auto& run : runs) {
      if (i < run.size()) statements.push_back(wordings.statement(run[i]));
    }
  }
  return statements;
}

}  // namespace

// Every key has several values, told apart from each other; all are asked for.
Exercise make_multivalue_exercise(const ExerciseMaterial& material, Rng& rng) {
  const Noun& noun = kNouns[rng.below(kNouns.size())];
  const std::vector<std::string> keys =
      some_of(material.wordings.keys(kKeyLists[rng.below(kKeyLists.size())]),
              static_cast<std::size_t>(material.questions), rng);
  std::vector<std::vector<std::string>> runs;
  std::vector<ExerciseQuestion> questions;
  for (const std::string& key : keys) {
    std::vector<std::string> values = draw_values(material, noun, kValues, rng);
    std::vector<std::string>& run = runs.emplace_back();
    for (const std::string& value : values) {
      run.push_back(fmt::format("One of the {}s of {} is {}.", noun.text, key, value));
    }
    questions.push_back(
        exercise_question(material,
                          material.wordings.as_question(fmt::format(
                              "What are all {0}s of {1}? All {0}s of {1} are", noun.text, key)),
                          list_answer(values), values, Measure::kUnordered));
  }
  return exercise_of(material, interleaved(material.wordings, runs), std::move(questions), rng);
}

// The same is told of several keys; a question asks about some of them at once.
Exercise make_multiquery_exercise(const ExerciseMaterial& material, Rng& rng) {
  struct Told {
    std::string key;
    std::string value;
  };
  const auto keys =
      some_of(material.wordings.keys(kKeyLists[rng.below(kKeyLists.size())]), kPerNoun, rng);
  std::vector<std::vector<Told>> told;
  std::vector<Statement> statements;
  for (const Noun& noun : kNouns) {
    std::vector<Told>& of_noun = told.emplace_back();
    for (const std::string& key : keys) {
      of_noun.push_back({key, material.wordings.draw_value(noun.values, rng)});
      statements.push_back(material.wordings.statement(
          fmt::format("The {} of {} is {}.", noun.text, key, of_noun.back().value)));
    }
  }
  shuffle(statements, rng);
  std::vector<ExerciseQuestion> questions;
  for (int i = 0; i < material.questions; ++i) {
    const std::size_t noun = static_cast<std::size_t>(i) % kNouns.size();
    const std::vector<Told> asked = some_of(told[noun], kKeys, rng);
    std::string names;
    std::vector<std::string> values;
    for (const Told& one : asked) {
      const bool last = values.size() + 1 == asked.size();
      names += (values.empty() ? " " : last ? " and " : ", ") + one.key;
      values.push_back(one.value);
    }
    questions.push_back(
        exercise_question(material,
                          material.wordings.as_question(fmt::format(
                              "What are the {}s of{}? They are", kNouns[noun].text, names)),
                          list_answer(values), values, Measure::kOrdered));
  }
  return exercise_of(material, statements, std::move(questions), rng);
}

// Chains of variables, each set to the one before; a question names the value at a chain's start.
Exercise make_variables_exercise(const ExerciseMaterial& material, Rng& rng) {
  const auto chains = static_cast<std::size_t>(material.questions);
  const std::vector<std::string> names =
      distinct(chains * kNames, [&] { return variable_name(rng); });
  const std::vector<std::string> values =
      distinct(chains, [&] { return material.wordings.draw_value("digits5", rng); });
  std::vector<std::vector<std::string>> runs;
  std::vector<ExerciseQuestion> questions;
  for (std::size_t chain = 0; chain < chains; ++chain) {
    std::vector<std::string> members;
    std::vector<std::string>& run = runs.emplace_back();
    for (std::size_t i = 0; i < kNames; ++i) {
      const std::string& name = names[chain * kNames + i];
      run.push_back(i == 0 ? fmt::format("VAR {} = {}.", name, values[chain])
                           : fmt::format("VAR {} = VAR {}.", name, members.back()));
      members.push_back(name);
    }
    questions.push_back(
        exercise_question(material,
                          material.wordings.as_question(fmt::format(
                              "Which variables are equal to {}? They are", values[chain])),
                          list_answer(members), members, Measure::kUnordered));
  }
  return exercise_of(material, interleaved(material.wordings, runs), std::move(questions), rng);
}

}  // namespace sinkrouter
