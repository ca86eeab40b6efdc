#include "text/metaspace.h"

#include "base/quotes.h"
#include "text/utf8.h"

namespace sinkrouter::text {

std::string parse_character(const JsonField& field) {
  std::string text = field.string();
  if (text.empty() || static_cast<std::size_t>(utf8_length(text[0])) != text.size()) {
    field.fail("found " + in_quotes(text) + ", expected one character");
  }
  return text;
}

MetaspaceOptions parse_metaspace(const JsonField& field) {
  MetaspaceOptions options;
  options.replacement = parse_character(field.at("replacement"));
  const bool adds_prefix = field.boolean_or("add_prefix_space", true);
  const auto scheme = field.find("prepend_scheme");
  const std::string name = scheme ? scheme->string() : adds_prefix ? "always" : "never";
  if (name == "always") {
    options.prepend = MetaspaceOptions::Prepend::kAlways;
  } else if (name == "first") {
    options.prepend = MetaspaceOptions::Prepend::kFirst;
  } else if (name == "never") {
    options.prepend = MetaspaceOptions::Prepend::kNever;
  } else {
    scheme->fail("found " + in_quotes(name) + ", expected always, first or never");
  }
  return options;
}

}  // namespace sinkrouter::text
