#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "json/json_field.h"
#include "text/utf8.h"

namespace sinkrouter::text {

// What pieces say: tokenizer.json's "decoder", or its like for the other formats.
class Decoder {
 public:
  Decoder() = default;  // pieces are words: a space between each two
  explicit Decoder(const JsonField& field);
  static Decoder byte_level();
  // Spaces are spelled "▁", bytes "<0xHH>"; if `strips_space`, a space is put before each text.
  static Decoder sentence_piece(bool strips_space);

  // The bytes that `piece` stands for, which may split a character. `is_first`: of a text.
  std::string bytes_of(std::string_view piece, bool is_first) const;
  bool treats_first_apart() const { return treats_first_apart_; }

  bool separates_pieces() const { return !joins_pieces_; }
  Utf8Joiner::Repair repair() const { return repair_; }

  struct TextStrip {
    std::string character;
    int count = 0;
  };
  // What to drop where the text begins: at most `count` of `character`.
  const TextStrip& text_strip() const { return text_strip_; }

 private:
  struct Step {
    enum class Kind { kByteLevel, kByteFallback, kReplace, kMetaspace, kStrip };

    Kind kind;
    std::string from = {};  // of kStrip: the character
    std::string to = {};
    bool drops_at_start = false;  // kMetaspace
    int start = 0;                // kStrip: at most so many
    int stop = 0;
  };

  void parse(const JsonField& field);
  void parse_strip(const JsonField& field);
  static void strip(const Step& step, std::string& piece);

  std::vector<Step> steps_;  // of each piece
  bool joins_pieces_ = false;
  bool is_fused_ = false;  // while parsing: what follows applies to the whole text
  bool treats_first_apart_ = false;
  Utf8Joiner::Repair repair_ = Utf8Joiner::Repair::kPerByte;
  TextStrip text_strip_;
};

}  // namespace sinkrouter::text
