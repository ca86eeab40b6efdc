#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "sinkrouter/error.h"
#include "sinkrouter/tokenizer.h"
#include "text/tokenizer_files.h"
#include "text/utf8.h"

namespace {

using sinkrouter::StreamDecoder;
using sinkrouter::Tokenizer;

struct Tokenizers {
  std::unique_ptr<Tokenizer> byte_level =
      sinkrouter::test::load_json(sinkrouter::test::byte_level_description());
  std::unique_ptr<Tokenizer> tiktoken =
      sinkrouter::test::load_model(sinkrouter::test::tiktoken_model());
  std::unique_ptr<Tokenizer> llama_json =
      sinkrouter::test::load_json(sinkrouter::test::sentence_piece_description());
  std::unique_ptr<Tokenizer> llama_model = sinkrouter::test::load_model(
      sinkrouter::test::sentence_piece_model(sinkrouter::test::llama_like_pieces()));
};

void require(bool condition) {
  if (!condition) __builtin_trap();
}

std::string stream(const Tokenizer& tokenizer, const std::vector<int>& ids, bool skip_special) {
  StreamDecoder decoder(tokenizer, skip_special);
  std::string text;
  for (const int id : ids) {
    const std::string piece = decoder.push(id);
    require(sinkrouter::text::is_utf8(piece));
    text += piece;
  }
  return text + decoder.flush();
}

std::vector<int> checked_encode(const Tokenizer& tokenizer, std::string_view text, bool special) {
  const std::vector<int> ids =
      tokenizer.encode(text, {.add_special = false, .parse_special = special});
  require(stream(tokenizer, ids, special) == tokenizer.decode(ids, special));
  return ids;
}

}  // namespace

// The first byte says whether special tokens are parsed.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Tokenizers kTokenizers;
  if (size == 0) return 0;
  const bool special = (data[0] & 1) != 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  try {
    for (const auto* tokenizer : {kTokenizers.byte_level.get(), kTokenizers.tiktoken.get()}) {
      require(tokenizer->decode(checked_encode(*tokenizer, text, special), false) == text);
    }
    // There "▁" means a space, and special tokens put one before what follows.
    const bool survives = !special && text.find("\u2581") == std::string_view::npos;
    for (const auto* tokenizer : {kTokenizers.llama_json.get(), kTokenizers.llama_model.get()}) {
      const std::vector<int> ids = checked_encode(*tokenizer, text, special);
      if (survives) require(tokenizer->decode(ids) == text);
    }
    require(sinkrouter::text::is_utf8(text));
  } catch (const sinkrouter::Error&) {
    require(!sinkrouter::text::is_utf8(text));
  }
  // Any ids decode to valid UTF-8.
  std::vector<int> ids;
  for (const char byte : text) ids.push_back(static_cast<std::uint8_t>(byte) + (special ? 3 : 0));
  for (const auto* tokenizer : {kTokenizers.byte_level.get(), kTokenizers.llama_json.get()}) {
    require(stream(*tokenizer, ids, true) == tokenizer->decode(ids));
    require(sinkrouter::text::is_utf8(tokenizer->decode(ids)));
  }
  return 0;
}
