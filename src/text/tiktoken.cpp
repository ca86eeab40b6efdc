#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>

#include "base/check.h"
#include "text/byte_level.h"
#include "text/loaded_tokenizer.h"

namespace sinkrouter::text {
namespace {

constexpr std::size_t kMaxPieceBytes = 256;
constexpr int kSpecialTokens = 256;

constexpr std::string_view kLlama3Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3})"
    R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

// Llama 3.1's names of the ids after the ranks; the rest are reserved.
constexpr std::string_view kSpecialNames[] = {"<|begin_of_text|>",
                                              "<|end_of_text|>",
                                              "<|reserved_special_token_0|>",
                                              "<|reserved_special_token_1|>",
                                              "<|finetune_right_pad_id|>",
                                              "<|reserved_special_token_2|>",
                                              "<|start_header_id|>",
                                              "<|end_header_id|>",
                                              "<|eom_id|>",
                                              "<|eot_id|>",
                                              "<|python_tag|>"};
constexpr int kBos = 0;
constexpr int kEos = 1;
constexpr int kEndOfMessage = 8;
constexpr int kEndOfTurn = 9;
constexpr int kNamed = std::size(kSpecialNames);
constexpr int kReservedBefore = 3;

std::string special_name(int index) {
  if (index < kNamed) return std::string(kSpecialNames[index]);
  return fmt::format("<|reserved_special_token_{}|>", index - kNamed + kReservedBefore);
}

int base64_value(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  if (c == '+') return 62;
  if (c == '/') return 63;
  return -1;
}

std::optional<std::string> decode_base64(std::string_view text) {
  if (text.empty() || text.size() % 4 != 0) return std::nullopt;
  const std::size_t padding = text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0;
  std::string bytes;
  std::uint32_t bits = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool is_padding = i >= text.size() - padding;
    const int value = is_padding ? 0 : base64_value(text[i]);
    if (value < 0) return std::nullopt;
    bits = (bits << 6) | static_cast<std::uint32_t>(value);
    if (i % 4 != 3) continue;
    for (const int shift : {16, 8, 0}) bytes += static_cast<char>((bits >> shift) & 0xFF);
    bits = 0;
  }
  bytes.resize(bytes.size() - padding);
  return bytes;
}

// The pieces by rank, as byte strings.
std::vector<std::string> parse_ranks(std::string_view text, const std::string& file) {
  std::vector<std::string> pieces;
  std::size_t line_number = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    std::string_view line = text.substr(at, end - at);
    at = end + 1;
    ++line_number;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty()) continue;
    const std::size_t space = std::min(line.find(' '), line.size());
    const std::optional<std::string> piece = decode_base64(line.substr(0, space));
    SR_CHECK(piece && !piece->empty() && piece->size() <= kMaxPieceBytes, kInvalidFile,
             "{}: line {}: expected a base64 piece of 1 to {} bytes and its rank", file,
             line_number, kMaxPieceBytes);
    const std::string_view digits = line.substr(std::min(space + 1, line.size()));
    std::size_t rank = 0;
    const char* const digits_end = digits.data() + digits.size();
    const auto parsed = std::from_chars(digits.data(), digits_end, rank);
    const bool is_next =
        parsed.ec == std::errc() && parsed.ptr == digits_end && rank == pieces.size();
    SR_CHECK(is_next && rank < kMaxVocabulary - kSpecialTokens, kInvalidFile,
             "{}: line {}: expected rank {}: ranks count from 0 up to {} at most", file,
             line_number, pieces.size(), kMaxVocabulary - kSpecialTokens - 1);
    pieces.push_back(*piece);
  }
  return pieces;
}

}  // namespace

LoadedTokenizer parse_tiktoken(std::string_view content, const std::string& file) {
  const std::vector<std::string> pieces = parse_ranks(content, file);

  LoadedTokenizer result;
  PieceIds vocabulary;
  vocabulary.reserve(pieces.size());
  for (const std::string& piece : pieces) {
    const int id = static_cast<int>(result.tokens.size());
    std::string spelling = to_byte_level(piece);
    const bool is_new = vocabulary.emplace(spelling, id).second;
    SR_CHECK(is_new, kInvalidFile, "{}: the piece of rank {} is there twice, expected once", file,
             id);
    result.tokens.push_back({std::move(spelling)});
  }
  for (int byte = 0; byte < 256; ++byte) {
    const std::string spelling = to_byte_level(std::string(1, static_cast<char>(byte)));
    SR_CHECK(vocabulary.contains(spelling), kInvalidFile,
             "{}: no piece for byte 0x{:02X}, expected one for every byte", file, byte);
  }

  const int first_special = static_cast<int>(pieces.size());
  std::vector<AddedToken> added;
  for (int i = 0; i < kSpecialTokens; ++i) {
    AddedToken token{.content = special_name(i), .id = first_special + i, .special = true};
    result.tokens.push_back({token.content, true});
    added.push_back(std::move(token));
  }
  result.encoder = std::make_unique<BpeEncoder>(
      Normalizer(),
      PreTokenizer::byte_level(Regex(kLlama3Pattern, Regex::Syntax::kExpression, file)),
      BpeModel(std::move(vocabulary), merges_of_ranked_pieces(pieces), {.ignore_merges = true}),
      added);
  result.decoder = Decoder::byte_level();
  result.adds_bos = true;
  result.bos_id = first_special + kBos;
  result.eos_id = first_special + kEos;
  result.stop_ids = {first_special + kEos, first_special + kEndOfMessage,
                     first_special + kEndOfTurn};
  return result;
}

}  // namespace sinkrouter::text
