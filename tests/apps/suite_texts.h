#pragma once

#include <string>
#include <vector>

#include "base/rng.h"

namespace sinkrouter::testing {

// Sentences and lines of made-up words, different for each seed.
inline std::string made_up_text(Rng& rng, int sentences) {
  std::vector<std::string> words;
  for (int i = 0; i < 400; ++i) {
    std::string word;
    for (std::uint64_t letter = 2 + rng.below(5); letter > 0; --letter) {
      word += static_cast<char>('a' + rng.below(26));
    }
    words.push_back(word);
  }
  std::string text;
  for (int sentence = 0; sentence < sentences; ++sentence) {
    text += "So";
    for (std::uint64_t word = 4 + rng.below(12); word > 0; --word) {
      text += " " + words[rng.below(words.size())];
    }
    text += rng.below(4) == 0 ? ".\n" : ". ";
  }
  return text;
}

inline std::vector<std::string> made_up_texts(std::uint64_t seed, int count, int sentences) {
  Rng rng(seed);
  std::vector<std::string> texts;
  for (int i = 0; i < count; ++i) texts.push_back(made_up_text(rng, sentences));
  return texts;
}

}  // namespace sinkrouter::testing
