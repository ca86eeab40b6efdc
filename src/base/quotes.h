#pragma once

#include <string>
#include <string_view>

namespace sinkrouter {

// Text from a file as error messages show it: on one line, printable and short.
std::string printable(std::string_view text);
std::string in_quotes(std::string_view text);

}  // namespace sinkrouter
