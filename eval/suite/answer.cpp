#include "eval/suite/answer.h"

#include <algorithm>
#include <set>

namespace sinkrouter {
namespace {

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlank = " \t";
  const std::size_t start = text.find_first_not_of(kBlank);
  if (start == std::string_view::npos) return {};
  return text.substr(start, text.find_last_not_of(kBlank) - start + 1);
}

double share(std::size_t right, std::size_t wanted, std::size_t said) {
  const std::size_t whole = std::max(wanted, said);
  return whole == 0 ? 0.0 : static_cast<double>(right) / static_cast<double>(whole);
}

}  // namespace

std::vector<std::string> listed_items(std::string_view text) {
  constexpr std::string_view kAnd = " and ";
  std::vector<std::string> items;
  while (!text.empty()) {
    const std::size_t comma = text.find(',');
    const std::size_t word = text.find(kAnd);
    const std::size_t end = std::min({comma, word, text.size()});
    const std::string_view item = trimmed(text.substr(0, end));
    if (!item.empty()) items.emplace_back(item);
    text.remove_prefix(std::min(text.size(), end + (word < comma ? kAnd.size() : 1)));
  }
  return items;
}

std::vector<std::string> words_of(std::string_view text) {
  constexpr std::string_view kBlank = " \t\r\n";
  std::vector<std::string> words;
  for (std::size_t at = text.find_first_not_of(kBlank); at != std::string_view::npos;
       at = text.find_first_not_of(kBlank, at)) {
    const std::size_t end = std::min(text.find_first_of(kBlank, at), text.size());
    words.emplace_back(text.substr(at, end - at));
    at = end;
  }
  return words;
}

double ordered_share(std::span<const std::string> wanted, std::span<const std::string> said) {
  std::size_t right = 0;
  for (std::size_t i = 0; i < std::min(wanted.size(), said.size()); ++i) {
    right += wanted[i] == said[i] ? 1 : 0;
  }
  return share(right, wanted.size(), said.size());
}

double unordered_share(std::span<const std::string> wanted, std::span<const std::string> said) {
  const std::set<std::string> distinct(said.begin(), said.end());
  std::size_t right = 0;
  for (const std::string& item : wanted) right += distinct.count(item);
  return share(right, wanted.size(), said.size());
}

double copied_share(std::span<const std::string> wanted, std::span<const std::string> said) {
  const auto wrong = std::mismatch(wanted.begin(), wanted.end(), said.begin(), said.end()).first;
  return share(static_cast<std::size_t>(wrong - wanted.begin()), wanted.size(), wanted.size());
}

}  // namespace sinkrouter
