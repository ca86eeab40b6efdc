#include "text/tokenizer_files.h"

#include <fmt/format.h>

#include <bit>
#include <fstream>
#include <random>

#include "text/byte_level.h"
#include "text/utf8.h"

namespace sinkrouter::test {
namespace {

using Json = nlohmann::json;

constexpr std::string_view kVisibleSpace = "\xE2\x96\x81";
constexpr int kBos = 300;
constexpr int kEot = 301;

const std::vector<std::pair<std::string, std::string>>& english_merges() {
  static const std::vector<std::pair<std::string, std::string>> kMerges = {
      {"h", "e"}, {"t", "he"},  {"l", "l"}, {"he", "ll"}, {"hell", "o"},
      {"a", "a"}, {"aa", "aa"}, {"n", "d"}, {"a", "nd"}};
  return kMerges;
}

Json added_token(int id, std::string_view content) {
  return {{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
          {"rstrip", false}, {"normalized", false}, {"special", true}};
}

std::string varint(std::uint64_t value) {
  std::string out;
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(0x80 | (value & 0x7F));
  return out + static_cast<char>(value);
}

std::string base64(std::string_view bytes) {
  constexpr std::string_view kAlphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t at = 0; at < bytes.size(); at += 3) {
    std::uint32_t bits = 0;
    for (std::size_t i = at; i < at + 3; ++i) {
      bits = (bits << 8) | (i < bytes.size() ? static_cast<std::uint8_t>(bytes[i]) : 0);
    }
    for (std::size_t i = 0; i < 4; ++i) {
      out += at + i <= bytes.size() ? kAlphabet[(bits >> (18 - 6 * i)) & 63] : '=';
    }
  }
  return out;
}

char32_t random_character(Rng& rng) {
  switch (rng.below(6)) {
    case 0:
      return static_cast<char32_t>(rng.below(0x20));
    case 1:
    case 2:
      return static_cast<char32_t>(0x20 + rng.below(0x60));
    case 3:
      return static_cast<char32_t>(rng.below(0x3000));
    case 4:
      return static_cast<char32_t>(0x3000 + rng.below(0xA800));
    default:
      return static_cast<char32_t>(0xE000 + rng.below(0x110000 - 0xE000));
  }
}

}  // namespace

TemporaryDirectory::TemporaryDirectory() {
  std::random_device device;
  path_ = std::filesystem::temp_directory_path() /
          fmt::format("sinkrouter-text-{:08x}{:08x}", device(), device());
  std::filesystem::create_directory(path_);
}

TemporaryDirectory::~TemporaryDirectory() { std::filesystem::remove_all(path_); }

void TemporaryDirectory::write(std::string_view name, std::string_view content) const {
  std::ofstream(path_ / name, std::ios::binary) << content;
}

std::unique_ptr<Tokenizer> load_json(const Json& description) {
  const TemporaryDirectory directory;
  directory.write("tokenizer.json", description.dump());
  return Tokenizer::load(directory.path());
}

std::unique_ptr<Tokenizer> load_model(std::string_view content) {
  const TemporaryDirectory directory;
  directory.write("tokenizer.model", content);
  return Tokenizer::load(directory.path());
}

Json byte_level_description() {
  Json vocabulary = Json::object();
  for (int byte = 0; byte < 256; ++byte) {
    vocabulary[text::to_byte_level(std::string(1, static_cast<char>(byte)))] = byte;
  }
  Json merges = Json::array();
  for (const auto& [left, right] : english_merges()) {
    vocabulary[left + right] = vocabulary.size();
    merges.push_back(left + " " + right);
  }
  return {
      {"added_tokens", {added_token(kBos, "<|bos|>"), added_token(kEot, "<|eot|>")}},
      {"normalizer", nullptr},
      {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}}},
      {"post_processor",
       {{"type", "TemplateProcessing"},
        {"single",
         {{{"SpecialToken", {{"id", "<|bos|>"}, {"type_id", 0}}}},
          {{"Sequence", {{"id", "A"}, {"type_id", 0}}}}}},
        {"special_tokens", {{"<|bos|>", {{"id", "<|bos|>"}, {"ids", {kBos}}}}}}}},
      {"decoder", {{"type", "ByteLevel"}}},
      {"model",
       {{"type", "BPE"}, {"vocab", std::move(vocabulary)}, {"merges", std::move(merges)}}}};
}

Json sentence_piece_description() {
  Json vocabulary = {{"<unk>", 0}, {"<s>", 1}, {"</s>", 2}};
  for (int byte = 0; byte < 256; ++byte) {
    vocabulary[fmt::format("<0x{:02X}>", byte)] = vocabulary.size();
  }
  const std::string space(kVisibleSpace);
  vocabulary[space] = vocabulary.size();
  for (char c = 'a'; c <= 'z'; ++c) vocabulary[std::string(1, c)] = vocabulary.size();
  auto pairs = english_merges();
  pairs.push_back({space, "the"});
  pairs.push_back({space, "hello"});
  Json merges = Json::array();
  for (const auto& [left, right] : pairs) {
    vocabulary[left + right] = vocabulary.size();
    merges.push_back({left, right});
  }
  const auto replace = [](std::string_view from, std::string_view to) {
    return Json{{"type", "Replace"}, {"pattern", {{"String", from}}}, {"content", to}};
  };
  return {
      {"added_tokens", {added_token(0, "<unk>"), added_token(1, "<s>"), added_token(2, "</s>")}},
      {"normalizer",
       {{"type", "Sequence"},
        {"normalizers", {{{"type", "Prepend"}, {"prepend", space}}, replace(" ", space)}}}},
      {"pre_tokenizer", nullptr},
      {"post_processor", nullptr},
      {"decoder",
       {{"type", "Sequence"},
        {"decoders",
         {replace(space, " "),
          {{"type", "ByteFallback"}},
          {{"type", "Fuse"}},
          {{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}}}}}},
      {"model",
       {{"type", "BPE"},
        {"unk_token", "<unk>"},
        {"fuse_unk", true},
        {"byte_fallback", true},
        {"vocab", std::move(vocabulary)},
        {"merges", std::move(merges)}}}};
}

std::vector<ScoredPiece> llama_like_pieces() {
  std::vector<ScoredPiece> pieces = {{"<unk>", 0, 2}, {"<s>", 0, 3}, {"</s>", 0, 3}};
  for (int byte = 0; byte < 256; ++byte) pieces.push_back({fmt::format("<0x{:02X}>", byte), 0, 6});
  float score = 0;
  const auto append = [&](std::string text) { pieces.push_back({std::move(text), --score}); };
  for (const auto& [left, right] : english_merges()) append(left + right);
  append(std::string(kVisibleSpace) + "the");
  append(std::string(kVisibleSpace));
  for (char c = 'a'; c <= 'z'; ++c) append(std::string(1, c));
  return pieces;
}

std::string wire_field(int number, std::string_view value) {
  return varint(static_cast<std::uint64_t>(number) << 3 | 2) + varint(value.size()) +
         std::string(value);
}

std::string wire_field(int number, std::uint64_t value) {
  return varint(static_cast<std::uint64_t>(number) << 3) + varint(value);
}

std::string sentence_piece_model(const std::vector<ScoredPiece>& pieces, int model_type,
                                 std::string_view normalizer) {
  constexpr std::uint64_t kPieceScoreFixed32 = 2 << 3 | 5;
  std::string model;
  for (const ScoredPiece& piece : pieces) {
    std::string message = wire_field(1, piece.text) + varint(kPieceScoreFixed32);
    const auto bits = std::bit_cast<std::uint32_t>(piece.score);
    for (int shift = 0; shift < 32; shift += 8) message += static_cast<char>(bits >> shift);
    message += wire_field(3, static_cast<std::uint64_t>(piece.type));
    model += wire_field(1, message);
  }
  constexpr int kByteFallback = 35;
  model += wire_field(2, wire_field(3, static_cast<std::uint64_t>(model_type)) +
                             wire_field(kByteFallback, std::uint64_t{1}));
  // Keeps spaces as they are: remove_extra_whitespaces is false.
  return model + wire_field(3, wire_field(4, std::uint64_t{0}) + std::string(normalizer));
}

std::string tiktoken_model() {
  std::string model;
  int rank = 0;
  const auto append = [&](std::string_view piece) {
    model += fmt::format("{} {}\n", base64(piece), rank++);
  };
  for (int byte = 0; byte < 256; ++byte) append(std::string(1, static_cast<char>(byte)));
  for (const std::string_view piece : {"he", "the", " the", "aa", "aaaa", "ll", "\xF0\x9F", "  "}) {
    append(piece);
  }
  return model;
}

std::string random_text(Rng& rng) {
  std::string out;
  const std::uint64_t parts = rng.below(24);
  for (std::uint64_t part = 0; part < parts; ++part) {
    const std::uint64_t repeats = rng.below(4) == 0 ? 1 + rng.below(20) : 1;
    const char32_t character = random_character(rng);
    for (std::uint64_t i = 0; i < repeats; ++i) text::utf8_append(character, out);
    if (rng.below(3) == 0) out += rng.below(2) == 0 ? " the" : "hello";
  }
  return out;
}

std::string random_bytes(Rng& rng, std::size_t count) {
  std::string bytes;
  for (std::size_t i = 0; i < count; ++i) bytes += static_cast<char>(rng.below(256));
  return bytes;
}

}  // namespace sinkrouter::test
