#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace sinkrouter::text {

// Byte-level BPE spells each byte as a printable character: printable Latin-1 as itself, the other
// 68 bytes as U+0100 and up, in order ("Ġ" is a space).
char32_t byte_level_character(std::uint8_t byte);
void append_byte_level(std::string_view bytes, std::string& out);
std::string to_byte_level(std::string_view bytes);
// The bytes that a spelling stands for; nullopt when some character stands for none.
std::optional<std::string> from_byte_level(std::string_view spelling);

}  // namespace sinkrouter::text
