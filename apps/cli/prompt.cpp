#include "prompt.h"

#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>

#include "sinkrouter/error.h"

namespace sinkrouter::cli {
namespace {

std::string read_all(std::istream& stream) {
  return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
}

std::string read_file(const std::string& path) {
  if (path == "-") return read_all(std::cin);
  std::ifstream stream(path, std::ios::binary);
  if (!stream.is_open() || std::filesystem::is_directory(path)) {
    throw Error(Error::Kind::kInvalidFile, path + ": cannot be read; is it a text file?");
  }
  return read_all(stream);
}

}  // namespace

void PromptFlags::add_to(CLI::App& command, bool required) {
  auto* group = command.add_option_group("prompt");
  group->add_option("--prompt", text_, "text to continue")->type_name("TEXT");
  group->add_option("--prompt-file", file_, "file to continue; - reads standard input")
      ->type_name("FILE");
  group->require_option(required ? 1 : 0, 1);
  command
      .add_option("--question", question_,
                  "text after the prompt; its tokens are decoded under the policy, not prefilled")
      ->type_name("TEXT");
  command.add_flag("--no-bos", no_bos_, "leave out the beginning-of-text token");
  command.add_flag("--parse-special", parse_special_,
                   "read special tokens such as <|eot_id|> written in the prompt");
}

std::string PromptFlags::text() const {
  std::string text = file_.empty() ? text_ : read_file(file_);
  if (text.empty()) {
    throw Error(Error::Kind::kInvalidArgument,
                "the prompt is empty; pass some text with --prompt or --prompt-file");
  }
  return text;
}

std::vector<int> PromptFlags::tokens(const Tokenizer& tokenizer, const std::string& text) const {
  return tokenizer.encode(text, {.add_special = !no_bos_, .parse_special = parse_special_});
}

std::vector<int> PromptFlags::question_tokens(const Tokenizer& tokenizer) const {
  if (question_.empty()) return {};
  return tokenizer.encode(question_, {.add_special = false, .parse_special = parse_special_});
}

}  // namespace sinkrouter::cli
