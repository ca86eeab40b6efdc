// Runs a tokenizer for another program. Standard input has one JSON object a line,
//   {"text": "...", "add_special": false, "parse_special": true}  ->  [ids]
//   {"ids": [...], "skip_special": true}                          ->  "text"
// and standard output gets one line of JSON for each.
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

#include "sinkrouter/error.h"
#include "sinkrouter/tokenizer.h"

namespace {

using Json = nlohmann::json;

Json answer(const sinkrouter::Tokenizer& tokenizer, const Json& request) {
  if (request.contains("ids")) {
    const auto ids = request["ids"].get<std::vector<int>>();
    return tokenizer.decode(ids, request["skip_special"].get<bool>());
  }
  return tokenizer.encode(request["text"].get<std::string>(),
                          {.add_special = request["add_special"].get<bool>(),
                           .parse_special = request["parse_special"].get<bool>()});
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: tokenize_lines <directory of a tokenizer>\n";
    return 2;
  }
  try {
    const auto tokenizer = sinkrouter::Tokenizer::load(argv[1]);
    for (std::string line; std::getline(std::cin, line);) {
      std::cout << answer(*tokenizer, Json::parse(line)).dump() << '\n';
    }
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
  return 0;
}
