#include "text/utf8.h"

#include <algorithm>
#include <cstdint>

#include "base/check.h"

namespace sinkrouter::text {
namespace {

struct Lead {
  int length;               // of the character; 0: no character starts so
  std::uint8_t second_min;  // the second byte's range; later ones are 80..BF
  std::uint8_t second_max;
};

Lead lead_of(std::uint8_t byte) {
  if (byte < 0x80) return {1, 0, 0};
  if (byte < 0xC2) return {0, 0, 0};
  if (byte < 0xE0) return {2, 0x80, 0xBF};
  if (byte == 0xE0) return {3, 0xA0, 0xBF};
  if (byte == 0xED) return {3, 0x80, 0x9F};
  if (byte < 0xF0) return {3, 0x80, 0xBF};
  if (byte == 0xF0) return {4, 0x90, 0xBF};
  if (byte < 0xF4) return {4, 0x80, 0xBF};
  if (byte == 0xF4) return {4, 0x80, 0x8F};
  return {0, 0, 0};
}

}  // namespace

Utf8Unit utf8_unit(std::string_view text, std::size_t at) {
  const Lead lead = lead_of(static_cast<std::uint8_t>(text[at]));
  if (lead.length == 0) return {Utf8Kind::kInvalid, 1};
  const int available = static_cast<int>(std::min<std::size_t>(text.size() - at, 4));
  for (int i = 1; i < lead.length; ++i) {
    if (i == available) return {Utf8Kind::kIncomplete, i};
    const auto byte = static_cast<std::uint8_t>(text[at + i]);
    const int low = i == 1 ? lead.second_min : 0x80;
    const int high = i == 1 ? lead.second_max : 0xBF;
    if (byte < low || byte > high) return {Utf8Kind::kInvalid, i};
  }
  return {Utf8Kind::kCharacter, lead.length};
}

int utf8_length(char first_byte) {
  return std::max(1, lead_of(static_cast<std::uint8_t>(first_byte)).length);
}

char32_t utf8_decode(std::string_view text, std::size_t at) {
  constexpr std::uint8_t kLeadMask[] = {0, 0x7F, 0x1F, 0x0F, 0x07};
  const int length = utf8_length(text[at]);
  char32_t character = static_cast<std::uint8_t>(text[at]) & kLeadMask[length];
  for (int i = 1; i < length; ++i) {
    character = (character << 6) | (static_cast<std::uint8_t>(text[at + i]) & 0x3F);
  }
  return character;
}

void utf8_append(char32_t character, std::string& out) {
  const auto tail = [&](int shift) {
    out += static_cast<char>(0x80 | ((character >> shift) & 0x3F));
  };
  if (character < 0x80) {
    out += static_cast<char>(character);
  } else if (character < 0x800) {
    out += static_cast<char>(0xC0 | (character >> 6));
    tail(0);
  } else if (character < 0x10000) {
    out += static_cast<char>(0xE0 | (character >> 12));
    tail(6);
    tail(0);
  } else {
    out += static_cast<char>(0xF0 | (character >> 18));
    tail(12);
    tail(6);
    tail(0);
  }
}

namespace {

std::size_t valid_prefix(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size()) {
    const Utf8Unit unit = utf8_unit(text, at);
    if (unit.kind != Utf8Kind::kCharacter) break;
    at += unit.length;
  }
  return at;
}

}  // namespace

bool is_utf8(std::string_view text) { return valid_prefix(text) == text.size(); }

void require_utf8(std::string_view text) {
  const std::size_t valid = valid_prefix(text);
  SR_CHECK(valid == text.size(), kInvalidArgument,
           "text: byte {} (0x{:02X}) is not valid UTF-8: expected a whole character", valid,
           static_cast<std::uint8_t>(text[valid]));
}

void Utf8Joiner::push(std::string_view bytes, std::string& out) {
  pending_ += bytes;
  drain(false, out);
}

void Utf8Joiner::flush(std::string& out) { drain(true, out); }

void Utf8Joiner::drain(bool at_end, std::string& out) {
  std::size_t at = 0;
  while (at < pending_.size()) {
    const Utf8Unit unit = utf8_unit(pending_, at);
    if (unit.kind == Utf8Kind::kIncomplete && !at_end) break;
    if (unit.kind == Utf8Kind::kCharacter) {
      out.append(pending_, at, unit.length);
    } else {
      const int replaced = repair_ == Repair::kPerByte ? unit.length : 1;
      for (int i = 0; i < replaced; ++i) out += kReplacementCharacter;
    }
    at += unit.length;
  }
  pending_.erase(0, at);
}

}  // namespace sinkrouter::text
