#pragma once

#include <string>
#include <string_view>

namespace sinkrouter::text {

// tokenizer.json means Unicode 16 by \p{L} and the like; PCRE2 10.42 knows Unicode 14 and counts
// U+180E as space. This replaces each character that they class differently by one of the same
// class and the same number of bytes, so that a match in the result is a match in the text.
std::string with_unicode_standins(std::string_view text);

}  // namespace sinkrouter::text
