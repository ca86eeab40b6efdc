#include "text/decoder.h"

#include <charconv>

#include "base/check.h"
#include "base/quotes.h"
#include "text/byte_level.h"
#include "text/metaspace.h"
#include "text/replace.h"

namespace sinkrouter::text {
namespace {

constexpr std::string_view kVisibleSpace = "\xE2\x96\x81";  // "▁"
constexpr int kMaxStrip = 1024;

// "<0xHH>" becomes that byte; other pieces stay.
bool take_byte(std::string& piece) {
  if (piece.size() != 6 || !piece.starts_with("<0x") || piece.back() != '>') return false;
  unsigned byte = 0;
  const char* const end = piece.data() + 5;
  const auto result = std::from_chars(piece.data() + 3, end, byte, 16);
  if (result.ec != std::errc() || result.ptr != end) return false;
  piece.assign(1, static_cast<char>(byte));
  return true;
}

}  // namespace

Decoder::Decoder(const JsonField& field) : joins_pieces_(true) { parse(field); }

Decoder Decoder::byte_level() {
  Decoder decoder;
  decoder.joins_pieces_ = true;
  decoder.steps_.push_back({.kind = Step::Kind::kByteLevel});
  decoder.repair_ = Utf8Joiner::Repair::kPerSequence;
  return decoder;
}

Decoder Decoder::sentence_piece(bool strips_space) {
  Decoder decoder;
  decoder.joins_pieces_ = true;
  decoder.steps_.push_back(
      {.kind = Step::Kind::kReplace, .from = std::string(kVisibleSpace), .to = " "});
  decoder.steps_.push_back({.kind = Step::Kind::kByteFallback});
  decoder.text_strip_ = {" ", strips_space ? 1 : 0};
  return decoder;
}

void Decoder::parse(const JsonField& field) {
  const JsonField type_field = field.at("type");
  const std::string type = type_field.string();
  if (steps_.size() >= kMaxSteps) field.fail(fmt::format("more than {} steps", kMaxSteps));
  if (type == "Sequence") {
    for (const JsonField& item : field.at("decoders").items()) parse(item);
    return;
  }
  if (type == "Fuse") {
    is_fused_ = true;
    return;
  }
  if (type == "Strip") {
    parse_strip(field);
    return;
  }
  if (is_fused_) {
    type_field.fail(fmt::format("{} after Fuse or ByteLevel is not supported, expected Strip only",
                                in_quotes(type)));
  }
  if (type == "ByteLevel") {
    steps_.push_back({.kind = Step::Kind::kByteLevel});
    repair_ = Utf8Joiner::Repair::kPerSequence;
    is_fused_ = true;
  } else if (type == "ByteFallback") {
    steps_.push_back({.kind = Step::Kind::kByteFallback});
  } else if (type == "Replace") {
    const JsonField from = field.at("pattern").at("String");
    steps_.push_back({.kind = Step::Kind::kReplace,
                      .from = from.string(),
                      .to = parse_replacement(field.at("content"))});
    if (steps_.back().from.empty()) from.fail("an empty string, expected a character or more");
  } else if (type == "Metaspace") {
    const MetaspaceOptions options = parse_metaspace(field);
    treats_first_apart_ = options.prepend != MetaspaceOptions::Prepend::kNever;
    steps_.push_back({.kind = Step::Kind::kMetaspace,
                      .from = options.replacement,
                      .drops_at_start = treats_first_apart_});
  } else {
    type_field.fail(
        fmt::format("decoder {} is not supported, expected ByteLevel, ByteFallback, "
                    "Fuse, Strip, Replace, Metaspace or Sequence",
                    in_quotes(type)));
  }
}

void Decoder::parse_strip(const JsonField& field) {
  const std::string character = parse_character(field.at("content"));
  const int start = static_cast<int>(field.at("start").integer(0, kMaxStrip));
  const int stop = static_cast<int>(field.at("stop").integer(0, kMaxStrip));
  if (!is_fused_) {
    steps_.push_back({.kind = Step::Kind::kStrip, .from = character, .start = start, .stop = stop});
    return;
  }
  if (stop != 0) field.fail("stripping the end of the text is not supported, expected stop 0");
  if (text_strip_.count != 0) field.fail("a second Strip of the text, expected one");
  text_strip_ = {character, start};
}

std::string Decoder::bytes_of(std::string_view piece, bool is_first) const {
  std::string bytes(piece);
  for (const Step& step : steps_) {
    switch (step.kind) {
      case Step::Kind::kByteLevel:
        if (auto spelled = from_byte_level(bytes)) bytes = *std::move(spelled);
        break;
      case Step::Kind::kByteFallback:
        // A byte is no text, so nothing after this applies to it.
        if (take_byte(bytes)) return bytes;
        break;
      case Step::Kind::kReplace:
        replace_all(step.from, step.to, bytes);
        break;
      case Step::Kind::kMetaspace:
        replace_all(step.from, is_first && step.drops_at_start ? "" : " ", bytes);
        break;
      case Step::Kind::kStrip:
        strip(step, bytes);
        break;
    }
    check_growth(piece.size(), bytes.size(), "tokenizer.json: decoder");
  }
  return bytes;
}

void Decoder::strip(const Step& step, std::string& piece) {
  const std::string& character = step.from;
  for (int i = 0; i < step.start && piece.starts_with(character); ++i) {
    piece.erase(0, character.size());
  }
  for (int i = 0; i < step.stop && piece.ends_with(character); ++i) {
    piece.resize(piece.size() - character.size());
  }
}

}  // namespace sinkrouter::text
