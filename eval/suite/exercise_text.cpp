#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "base/check.h"
#include "eval/suite/answer.h"
#include "eval/suite/draw.h"
#include "eval/suite/exercise_kinds.h"
#include "eval/tokens.h"

namespace sinkrouter {
namespace {

constexpr std::size_t kOften = 3;         // words that are asked for
constexpr std::size_t kRare = 50;         // other words of the list
constexpr std::uint64_t kLeastOften = 8;  // times an often word comes, up to 12
constexpr std::uint64_t kMostOften = 12;
constexpr std::size_t kPassageWords = 24;
constexpr std::size_t kSampledText = 300'000;  // bytes that words are taken from

// A piece of about so many bytes of one of the texts, cut at spaces and line breaks.
std::string_view piece_of(std::span<const std::string> texts, std::size_t bytes, Rng& rng) {
  const std::string_view text = texts[rng.below(texts.size())];
  if (text.size() <= bytes) return text;
  std::string_view piece = text.substr(rng.below(text.size() - bytes), bytes);
  piece.remove_prefix(std::min(piece.size(), piece.find_first_of(" \n")));
  return piece.substr(0, piece.find_last_of(" \n"));
}

bool is_list_word(std::string_view word) {
  return word.size() > 3 && word.size() < 10 &&
         std::all_of(word.begin(), word.end(), [](char c) { return c >= 'a' && c <= 'z'; });
}

std::vector<std::string> list_words(const ExerciseMaterial& material, Rng& rng) {
  std::set<std::string> found;
  for (std::string& word : words_of(piece_of(material.texts, kSampledText, rng))) {
    if (is_list_word(word)) found.insert(std::move(word));
  }
  SR_CHECK(found.size() >= kOften + kRare, kInvalidArgument,
           "task words: a piece of the text has {} different words of 4 to 9 small letters and {} "
           "are needed; pass another --text",
           found.size(), kOften + kRare);
  return {found.begin(), found.end()};
}

// Without marks that end or separate answers.
std::vector<std::string> passage_words(const ExerciseMaterial& material, Rng& rng) {
  constexpr std::size_t kBytes = 1500;
  constexpr int kTries = 100;
  for (int attempt = 0; attempt < kTries; ++attempt) {
    std::vector<std::string> words;
    for (std::string& word : words_of(piece_of(material.texts, kBytes, rng))) {
      if (word.find_first_of(".{}") == std::string::npos) words.push_back(std::move(word));
    }
    if (words.size() < kPassageWords) continue;
    words.resize(kPassageWords);
    return words;
  }
  throw Error(Error::Kind::kInvalidArgument,
              fmt::format("task copy: the text has no {} words in a row; pass another --text",
                          kPassageWords));
}

}  // namespace

// Each question has a list of its own at the end of the document: lists are long, and two of them
// could not be told apart.
Exercise make_words_exercise(const ExerciseMaterial& material, Rng& rng) {
  const std::vector<std::string> known = list_words(material, rng);
  std::vector<ExerciseQuestion> questions;
  for (int i = 0; i < material.questions; ++i) {
    std::vector<std::string> words = some_of(known, kOften + kRare, rng);
    std::vector<std::string> often(words.begin(), words.begin() + kOften);
    std::vector<std::string> list(words.begin() + kOften, words.end());
    for (std::size_t word = kOften; word < words.size(); ++word) {
      if (rng.below(3) == 0) list.push_back(words[word]);
    }
    const std::uint64_t times = kLeastOften + rng.below(kMostOften - kLeastOften + 1);
    for (std::uint64_t time = 0; time < times; ++time) {
      list.insert(list.end(), often.begin(), often.end());
    }
    shuffle(list, rng);
    ExerciseQuestion question = exercise_question(
        material,
        material.wordings.as_question("Which 3 words are the most common in the list? They are"),
        list_answer(often), often, Measure::kUnordered);
    question.tail =
        plain_tokens(material.tokenizer, fmt::format("\nWords: {}.", fmt::join(list, ", ")));
    questions.push_back(std::move(question));
  }
  return exercise_of(material, {}, std::move(questions), rng);
}

// Passages with names, each to be repeated.
Exercise make_copy_exercise(const ExerciseMaterial& material, Rng& rng) {
  const std::vector<std::string> names =
      some_of(material.wordings.keys("city"), static_cast<std::size_t>(material.questions), rng);
  std::vector<Statement> statements;
  std::vector<ExerciseQuestion> questions;
  for (const std::string& name : names) {
    const std::vector<std::string> words = passage_words(material, rng);
    const std::string passage = fmt::format("{}.", fmt::join(words, " "));
    statements.push_back(material.wordings.statement(fmt::format("Passage {}: {}", name, passage)));
    questions.push_back(exercise_question(
        material, material.wordings.as_question(fmt::format("Repeat passage {}:", name)),
        " " + passage, words, Measure::kCopied));
  }
  return exercise_of(material, statements, std::move(questions), rng);
}

}  // namespace sinkrouter
