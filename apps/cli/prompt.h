#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "sinkrouter/tokenizer.h"

namespace sinkrouter::cli {

// The prompt: --prompt or --prompt-file, and a --question to decode after it.
class PromptFlags {
 public:
  void add_to(CLI::App& command, bool required);
  bool given() const { return !text_.empty() || !file_.empty(); }
  // Reads the prompt; throws Error when it is empty or cannot be read.
  std::string text() const;
  std::vector<int> tokens(const Tokenizer& tokenizer, const std::string& text) const;
  std::vector<int> question_tokens(const Tokenizer& tokenizer) const;

 private:
  std::string text_;
  std::string file_;
  std::string question_;
  bool no_bos_ = false;
  bool parse_special_ = false;
};

}  // namespace sinkrouter::cli
