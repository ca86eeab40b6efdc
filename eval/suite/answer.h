#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace sinkrouter {

// The items that a list in words names: "5, 7 and 9" is 5, 7, 9.
std::vector<std::string> listed_items(std::string_view text);

// What stands between spaces and line breaks.
std::vector<std::string> words_of(std::string_view text);

// Shares of an answer that are right, 0 to 1. What is said beyond what was asked counts against a
// list.

// Items in their places.
double ordered_share(std::span<const std::string> wanted, std::span<const std::string> said);
// Items anywhere; repeating one gains nothing.
double unordered_share(std::span<const std::string> wanted, std::span<const std::string> said);
// Items before the first wrong one, whatever follows.
double copied_share(std::span<const std::string> wanted, std::span<const std::string> said);

}  // namespace sinkrouter
