#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "json/json_field.h"
#include "text/regex.h"

namespace sinkrouter::text {

inline constexpr std::size_t kMaxSteps = 64;  // of a normalizer, pre-tokenizer or decoder

// Throws Error when steps have blown up a text: each could double it.
void check_growth(std::size_t before, std::size_t now, const std::string& where);

// {"String": "..."} or {"Regex": "..."}.
Regex parse_pattern(const JsonField& field);
// A string of at most 1024 bytes.
std::string parse_replacement(const JsonField& field);

void replace_all(const Regex& pattern, std::string_view content, const TimeLimit& limit,
                 std::string& text);
void replace_all(std::string_view from, std::string_view to, std::string& text);

}  // namespace sinkrouter::text
