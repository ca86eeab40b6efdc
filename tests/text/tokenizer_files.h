#pragma once

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/rng.h"
#include "sinkrouter/tokenizer.h"

namespace sinkrouter::test {

// A directory of its own, removed at the end.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  const std::filesystem::path& path() const { return path_; }
  void write(std::string_view name, std::string_view content) const;

 private:
  std::filesystem::path path_;
};

std::unique_ptr<Tokenizer> load_json(const nlohmann::json& description);
std::unique_ptr<Tokenizer> load_model(std::string_view content);  // as tokenizer.model

// tokenizer.json with all bytes, a few merges of English and "<|bos|>", "<|eot|>" at 300 and 301.
nlohmann::json byte_level_description();
// The same for the Llama 2 kind: "▁", byte fallback, "<s>" and "</s>".
nlohmann::json sentence_piece_description();

struct ScoredPiece {
  std::string text;
  float score = 0;
  int type = 1;  // 1: normal, 2: unknown, 3: control, 6: byte
};
std::vector<ScoredPiece> llama_like_pieces();
// Protobuf: a field whose value is a string or a message.
std::string wire_field(int number, std::string_view value);
std::string wire_field(int number, std::uint64_t value);
// SentencePiece's tokenizer.model. `normalizer` is normalizer_spec's content.
std::string sentence_piece_model(const std::vector<ScoredPiece>& pieces, int model_type = 2,
                                 std::string_view normalizer = "");

// Every byte, then a few pieces that merge, as tiktoken writes them.
std::string tiktoken_model();

// Valid UTF-8 of all planes: letters, digits, marks, runs of spaces, control characters.
std::string random_text(Rng& rng);
std::string random_bytes(Rng& rng, std::size_t count);

}  // namespace sinkrouter::test
