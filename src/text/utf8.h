#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace sinkrouter::text {

enum class Utf8Kind { kCharacter, kIncomplete, kInvalid };

struct Utf8Unit {
  Utf8Kind kind;
  int length;  // bytes; of an invalid unit: those that one U+FFFD stands for
};

// What starts at text[at]: a whole character, the valid beginning of one that the end of the text
// cuts off, or bytes that begin no character.
Utf8Unit utf8_unit(std::string_view text, std::size_t at);

// Bytes of the character at text[at]; the text must be valid.
int utf8_length(char first_byte);
char32_t utf8_decode(std::string_view text, std::size_t at);
void utf8_append(char32_t character, std::string& out);

bool is_utf8(std::string_view text);
// Throws Error naming the first byte that belongs to no character.
void require_utf8(std::string_view text);

inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";

// Joins byte strings that may split characters and hands on whole characters.
class Utf8Joiner {
 public:
  enum class Repair {
    kPerSequence,  // one U+FFFD for each truncated character or stray byte (as byte-level BPE does)
    kPerByte,      // one U+FFFD for each byte (as SentencePiece does)
  };

  explicit Utf8Joiner(Repair repair) : repair_(repair) {}

  void push(std::string_view bytes, std::string& out);
  void flush(std::string& out);

 private:
  void drain(bool at_end, std::string& out);

  Repair repair_;
  std::string pending_;
};

}  // namespace sinkrouter::text
