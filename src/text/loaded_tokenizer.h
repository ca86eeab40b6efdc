#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/added_tokens.h"
#include "text/bpe.h"
#include "text/decoder.h"
#include "text/normalizer.h"
#include "text/pre_tokenizer.h"

namespace sinkrouter::text {

inline constexpr int kMaxVocabulary = 1 << 21;

class TextEncoder {
 public:
  virtual ~TextEncoder() = default;

  // Appends the ids of `text` (valid UTF-8).
  virtual void encode(std::string_view text, bool parse_special, std::vector<int>& out) const = 0;
};

// Normalizer, pre-tokenizer and BPE around the added tokens, as tokenizer.json describes them.
class BpeEncoder final : public TextEncoder {
 public:
  BpeEncoder(Normalizer normalizer, PreTokenizer pre_tokenizer, BpeModel model,
             const std::vector<AddedToken>& added_tokens);

  void encode(std::string_view text, bool parse_special, std::vector<int>& out) const override;

 private:
  Normalizer normalizer_;
  PreTokenizer pre_tokenizer_;
  BpeModel model_;
  AddedTokenFinder raw_tokens_;         // found in the text as it is
  AddedTokenFinder normalized_tokens_;  // and in what normalizing makes of the rest
};

struct Token {
  std::string piece;  // empty: the id stands for nothing
  bool special = false;
};

// What a tokenizer file and the configuration beside it say.
struct LoadedTokenizer {
  std::unique_ptr<const TextEncoder> encoder;
  Decoder decoder;
  std::vector<Token> tokens;  // by id
  std::vector<int> prefix;    // ids around a text that is encoded with special tokens
  std::vector<int> suffix;
  bool has_template = false;  // the file itself says what goes around a text
  bool adds_bos = false;      // otherwise: unless the configuration says differently
  std::optional<int> bos_id;
  std::optional<int> eos_id;
  std::vector<int> stop_ids;  // ascending
};

// Each takes a file's content, and its name for error messages.
LoadedTokenizer parse_tokenizer_json(std::string_view content, const std::string& file);
LoadedTokenizer parse_tiktoken(std::string_view content, const std::string& file);
LoadedTokenizer parse_sentence_piece(std::string_view content, const std::string& file);

// Completes prefix, suffix, bos_id, eos_id and stop_ids from tokenizer_config.json,
// generation_config.json and config.json, those of them that `directory` has.
void read_special_ids(const std::filesystem::path& directory, LoadedTokenizer& tokenizer);

}  // namespace sinkrouter::text
