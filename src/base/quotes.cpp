#include "base/quotes.h"

#include <fmt/format.h>

#include <algorithm>

namespace sinkrouter {
namespace {

constexpr std::size_t kMaxBytes = 60;

bool continues_character(char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; }

}  // namespace

std::string printable(std::string_view text) {
  std::size_t shown = std::min(text.size(), kMaxBytes);
  while (shown > 0 && shown < text.size() && continues_character(text[shown])) --shown;
  std::string result;
  for (const char c : text.substr(0, shown)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) {
      result += fmt::format("\\x{:02x}", byte);
    } else {
      result += c;
    }
  }
  if (shown < text.size()) result += "...";
  return result;
}

std::string in_quotes(std::string_view text) { return "'" + printable(text) + "'"; }

}  // namespace sinkrouter
