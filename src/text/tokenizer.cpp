#include "sinkrouter/tokenizer.h"

#include <algorithm>
#include <unordered_map>

#include "base/check.h"
#include "base/file.h"
#include "text/loaded_tokenizer.h"
#include "text/replace.h"
#include "text/utf8.h"

namespace sinkrouter {

struct Tokenizer::Impl {
  explicit Impl(text::LoadedTokenizer tokenizer) : loaded(std::move(tokenizer)) {
    std::size_t piece_bytes = 0;
    std::size_t text_bytes = 0;
    ids.reserve(loaded.tokens.size());
    bytes.reserve(loaded.tokens.size());
    for (const text::Token& token : loaded.tokens) {
      if (!token.piece.empty()) ids.emplace(token.piece, static_cast<int>(bytes.size()));
      bytes.push_back(loaded.decoder.bytes_of(token.piece, false));
      piece_bytes += token.piece.size();
      text_bytes += bytes.back().size();
      text::check_growth(piece_bytes, text_bytes, "tokenizer.json: decoder");
    }
  }

  int size() const { return static_cast<int>(loaded.tokens.size()); }

  const text::LoadedTokenizer loaded;
  std::unordered_map<std::string_view, int> ids;  // of pieces
  std::vector<std::string> bytes;                 // that each id stands for inside a text
};

namespace {

constexpr std::size_t kMaxFileBytes = std::size_t{64} << 20;

text::LoadedTokenizer load_file(const std::filesystem::path& directory) {
  const auto json = directory / "tokenizer.json";
  if (file_exists(json)) {
    return text::parse_tokenizer_json(read_text_file(json, kMaxFileBytes), json.string());
  }
  const auto model = directory / "tokenizer.model";
  SR_CHECK(file_exists(model), kInvalidFile,
           "{}: no tokenizer, expected tokenizer.json or tokenizer.model", directory.string());
  const std::string content = read_text_file(model, kMaxFileBytes);
  SR_CHECK(!content.empty(), kInvalidFile, "{}: empty, expected a tokenizer", model.string());
  // tiktoken's lines are base64; SentencePiece's protobuf starts with a control character.
  const bool is_text = content[0] > ' ';
  return is_text ? text::parse_tiktoken(content, model.string())
                 : text::parse_sentence_piece(content, model.string());
}

}  // namespace

std::unique_ptr<Tokenizer> Tokenizer::load(const std::filesystem::path& directory) {
  text::LoadedTokenizer loaded = load_file(directory);
  text::read_special_ids(directory, loaded);
  const auto size = static_cast<int>(loaded.tokens.size());
  SR_CHECK(!loaded.bos_id || *loaded.bos_id < size, kInvalidFile,
           "{}: bos_token_id is {}, expected one of the tokenizer's {} ids", directory.string(),
           *loaded.bos_id, size);
  return std::unique_ptr<Tokenizer>(new Tokenizer(std::make_unique<const Impl>(std::move(loaded))));
}

Tokenizer::Tokenizer(std::unique_ptr<const Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::~Tokenizer() = default;

std::vector<int> Tokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  text::require_utf8(text);
  const text::LoadedTokenizer& loaded = impl_->loaded;
  std::vector<int> ids;
  if (options.add_special) ids = loaded.prefix;
  loaded.encoder->encode(text, options.parse_special, ids);
  if (options.add_special) ids.insert(ids.end(), loaded.suffix.begin(), loaded.suffix.end());
  return ids;
}

std::string Tokenizer::decode(std::span<const int> ids, bool skip_special) const {
  StreamDecoder decoder(*this, skip_special);
  std::string text;
  for (const int id : ids) text += decoder.push(id);
  return text + decoder.flush();
}

int Tokenizer::vocab_size() const { return impl_->size(); }
std::optional<int> Tokenizer::bos_id() const { return impl_->loaded.bos_id; }
std::optional<int> Tokenizer::eos_id() const { return impl_->loaded.eos_id; }
std::span<const int> Tokenizer::stop_ids() const { return impl_->loaded.stop_ids; }

bool Tokenizer::is_special(int id) const {
  return id >= 0 && id < impl_->size() && impl_->loaded.tokens[id].special;
}

std::string_view Tokenizer::piece(int id) const {
  SR_CHECK(id >= 0 && id < impl_->size(), kInvalidArgument,
           "id {} is out of range: expected 0 to {}", id, impl_->size() - 1);
  return impl_->loaded.tokens[id].piece;
}

std::optional<int> Tokenizer::find(std::string_view piece) const {
  const auto it = impl_->ids.find(piece);
  if (it == impl_->ids.end()) return std::nullopt;
  return it->second;
}

struct StreamDecoder::State {
  State(const Tokenizer::Impl& tokenizer_impl, bool skips)
      : tokenizer(tokenizer_impl),
        skip_special(skips),
        joiner(tokenizer_impl.loaded.decoder.repair()),
        strips_left(tokenizer_impl.loaded.decoder.text_strip().count) {}

  void strip_start(std::string& text) {
    const std::string& character = tokenizer.loaded.decoder.text_strip().character;
    for (; strips_left > 0 && text.starts_with(character); --strips_left) {
      text.erase(0, character.size());
    }
    if (!text.empty()) strips_left = 0;
  }

  const Tokenizer::Impl& tokenizer;
  const bool skip_special;
  text::Utf8Joiner joiner;
  int strips_left;  // characters that may still be dropped where the text begins
  bool is_first = true;
};

StreamDecoder::StreamDecoder(const Tokenizer& tokenizer, bool skip_special)
    : state_(std::make_unique<State>(*tokenizer.impl_, skip_special)) {}
StreamDecoder::~StreamDecoder() = default;
StreamDecoder::StreamDecoder(StreamDecoder&&) noexcept = default;
StreamDecoder& StreamDecoder::operator=(StreamDecoder&&) noexcept = default;

std::string StreamDecoder::push(int id) {
  SR_CHECK(id >= 0, kInvalidArgument, "id {} is out of range: expected 0 or more", id);
  const Tokenizer::Impl& tokenizer = state_->tokenizer;
  std::string text;
  if (id >= tokenizer.size()) return text;
  const text::Token& token = tokenizer.loaded.tokens[id];
  if (token.piece.empty() || (token.special && state_->skip_special)) return text;

  const text::Decoder& decoder = tokenizer.loaded.decoder;
  const bool is_first = std::exchange(state_->is_first, false);
  if (!is_first && decoder.separates_pieces()) state_->joiner.push(" ", text);
  if (is_first && decoder.treats_first_apart()) {
    state_->joiner.push(decoder.bytes_of(token.piece, true), text);
  } else {
    state_->joiner.push(tokenizer.bytes[id], text);
  }
  state_->strip_start(text);
  return text;
}

std::string StreamDecoder::flush() {
  std::string text;
  state_->joiner.flush(text);
  state_->strip_start(text);
  state_ = std::make_unique<State>(state_->tokenizer, state_->skip_special);
  return text;
}

}  // namespace sinkrouter
