#include "eval/surprise.h"

#include <algorithm>
#include <cmath>

namespace sinkrouter {
namespace {

double log_probability(std::span<const float> logits, int token) {
  const float highest = *std::max_element(logits.begin(), logits.end());
  double total = 0;
  for (float logit : logits) total += std::exp(static_cast<double>(logit) - highest);
  return static_cast<double>(logits[static_cast<std::size_t>(token)]) - highest - std::log(total);
}

}  // namespace

std::int64_t window_tokens(std::span<const int> start, int context) {
  return std::int64_t{context} + 1 - static_cast<std::int64_t>(start.size());
}

std::vector<int> text_window(std::span<const int> start, std::span<const int> text, int context,
                             int index, int count) {
  const std::int64_t needed = window_tokens(start, context);
  const std::int64_t spare = static_cast<std::int64_t>(text.size()) - needed;
  const std::int64_t from = count == 1 ? 0 : spare * index / (count - 1);
  std::vector<int> window(start.begin(), start.end());
  const std::span<const int> piece =
      text.subspan(static_cast<std::size_t>(from), static_cast<std::size_t>(needed));
  window.insert(window.end(), piece.begin(), piece.end());
  return window;
}

double surprise(Engine& engine, Sequence& sequence, std::span<const int> window, int first,
                const PolicyOptions& policy) {
  double total = 0;
  Sequence* const sequences[] = {&sequence};
  for (std::size_t at = static_cast<std::size_t>(first); at + 1 < window.size(); ++at) {
    const std::span<const float> logits = engine.decode(sequences, window.subspan(at, 1), policy);
    total -= log_probability(logits, window[at + 1]);
  }
  return total;
}

}  // namespace sinkrouter
