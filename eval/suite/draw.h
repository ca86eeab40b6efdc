#pragma once

#include <algorithm>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/rng.h"

namespace sinkrouter {

template <typename T>
void shuffle(std::vector<T>& items, Rng& rng) {
  for (std::size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[rng.below(i)]);
}

// `count` of the items in random order; all of them when there are fewer.
template <typename T>
std::vector<T> some_of(std::vector<T> items, std::size_t count, Rng& rng) {
  shuffle(items, rng);
  if (items.size() > count) items.resize(count);
  return items;
}

// `count` different results of draw(); endless when it has fewer.
template <typename Draw>
std::vector<std::string> distinct(std::size_t count, const Draw& draw) {
  std::vector<std::string> found;
  while (found.size() < count) {
    std::string one = draw();
    if (std::find(found.begin(), found.end(), one) == found.end()) found.push_back(std::move(one));
  }
  return found;
}

// " a, b, c." as an answer lists items.
inline std::string list_answer(std::span<const std::string> items) {
  std::string answer;
  for (const std::string& item : items) answer += (answer.empty() ? " " : ", ") + item;
  return answer + ".";
}

}  // namespace sinkrouter
