#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace sinkrouter {

struct EncodeOptions {
  bool add_special = true;     // BOS and whatever else the tokenizer puts around a text
  bool parse_special = false;  // turn "<|eot_id|>" and the like into their ids, not into text
};

// Text to token ids and back. Immutable: any number of threads may use one tokenizer.
class Tokenizer {
 public:
  // Reads tokenizer.json (Hugging Face, BPE) or else tokenizer.model (SentencePiece BPE, or
  // Llama 3's tiktoken ranks) from a checkpoint directory. Throws Error on anything unsupported.
  static std::unique_ptr<Tokenizer> load(const std::filesystem::path& directory);

  ~Tokenizer();
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

  // Throws Error on invalid UTF-8 (naming the byte) and on characters that no token stands for.
  std::vector<int> encode(std::string_view text, const EncodeOptions& options = {}) const;
  // Always valid UTF-8: bytes that form no character become U+FFFD. Ids from vocab_size() on, and
  // ids that stand for nothing, are no text (checkpoints pad their vocabularies).
  std::string decode(std::span<const int> ids, bool skip_special = true) const;

  int vocab_size() const;  // one more than the largest id
  std::optional<int> bos_id() const;
  std::optional<int> eos_id() const;
  std::span<const int> stop_ids() const;  // ascending: every id that ends a generation
  bool is_special(int id) const;
  std::string_view piece(int id) const;  // as the vocabulary spells it; empty for an unused id
  std::optional<int> find(std::string_view piece) const;

 private:
  friend class StreamDecoder;
  struct Impl;

  explicit Tokenizer(std::unique_ptr<const Impl> impl);

  std::unique_ptr<const Impl> impl_;
};

// Decodes ids as they come. The pieces that push() and flush() return concatenate to decode() of
// all ids; none ends inside a character. The tokenizer must outlive it.
class StreamDecoder {
 public:
  explicit StreamDecoder(const Tokenizer& tokenizer, bool skip_special = true);
  ~StreamDecoder();
  StreamDecoder(StreamDecoder&&) noexcept;
  StreamDecoder& operator=(StreamDecoder&&) noexcept;

  std::string push(int id);  // the text that is now certain
  std::string flush();       // the rest; ready for a new text afterwards

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace sinkrouter
