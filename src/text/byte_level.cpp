#include "text/byte_level.h"

#include <array>

#include "text/utf8.h"

namespace sinkrouter::text {
namespace {

constexpr int kCharacters = 256 + 68;

constexpr bool is_printable(int byte) {
  return (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

struct Tables {
  std::array<std::uint16_t, 256> character{};
  std::array<std::int16_t, kCharacters> byte{};
};

constexpr Tables make_tables() {
  Tables tables;
  for (std::int16_t& byte : tables.byte) byte = -1;
  int next = 256;
  for (int byte = 0; byte < 256; ++byte) {
    const int character = is_printable(byte) ? byte : next++;
    tables.character[byte] = static_cast<std::uint16_t>(character);
    tables.byte[character] = static_cast<std::int16_t>(byte);
  }
  return tables;
}

constexpr Tables kTables = make_tables();

}  // namespace

char32_t byte_level_character(std::uint8_t byte) { return kTables.character[byte]; }

void append_byte_level(std::string_view bytes, std::string& out) {
  for (const char byte : bytes) {
    utf8_append(byte_level_character(static_cast<std::uint8_t>(byte)), out);
  }
}

std::string to_byte_level(std::string_view bytes) {
  std::string out;
  append_byte_level(bytes, out);
  return out;
}

std::optional<std::string> from_byte_level(std::string_view spelling) {
  std::string bytes;
  for (std::size_t at = 0; at < spelling.size(); at += utf8_length(spelling[at])) {
    const char32_t character = utf8_decode(spelling, at);
    if (character >= kCharacters || kTables.byte[character] < 0) return std::nullopt;
    bytes += static_cast<char>(kTables.byte[character]);
  }
  return bytes;
}

}  // namespace sinkrouter::text
