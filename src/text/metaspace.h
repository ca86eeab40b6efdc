#pragma once

#include <string>

#include "json/json_field.h"

namespace sinkrouter::text {

// The "Metaspace" pre-tokenizer and decoder: spaces spelled as a visible character.
struct MetaspaceOptions {
  enum class Prepend { kAlways, kFirst, kNever };

  std::string replacement;
  Prepend prepend = Prepend::kAlways;
};

MetaspaceOptions parse_metaspace(const JsonField& field);
// A string field that must hold one character.
std::string parse_character(const JsonField& field);

}  // namespace sinkrouter::text
