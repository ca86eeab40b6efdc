#include "runtime/stop_text.h"

#include <algorithm>
#include <utility>

namespace sinkrouter {

StopTextFilter::StopTextFilter(std::vector<std::string> stop_texts)
    : stop_texts_(std::move(stop_texts)) {
  std::erase_if(stop_texts_, [](const std::string& text) { return text.empty(); });
}

std::string StopTextFilter::push(std::string_view text) {
  if (stopped_) return {};
  pending_ += text;
  std::size_t first = std::string::npos;
  for (const std::string& stop : stop_texts_) first = std::min(first, pending_.find(stop));
  stopped_ = first != std::string::npos;
  const std::size_t ready = stopped_ ? first : pending_.size() - held_back();
  std::string out = pending_.substr(0, ready);
  pending_.erase(0, stopped_ ? pending_.size() : ready);
  return out;
}

// Length of the longest end of the pending text that begins a stop text.
std::size_t StopTextFilter::held_back() const {
  std::size_t longest = 0;
  const std::string_view pending = pending_;
  for (const std::string& stop : stop_texts_) {
    for (std::size_t n = std::min(stop.size() - 1, pending.size()); n > longest; --n) {
      if (pending.ends_with(std::string_view(stop).substr(0, n))) longest = n;
    }
  }
  return longest;
}

std::string StopTextFilter::flush() {
  return stopped_ ? std::string() : std::exchange(pending_, {});
}

}  // namespace sinkrouter
