#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace sinkrouter {

// Lets text through up to the first stop text, holding back what may be the start of one.
class StopTextFilter {
 public:
  explicit StopTextFilter(std::vector<std::string> stop_texts);

  std::string push(std::string_view text);  // what certainly comes before any stop text
  std::string flush();                      // what was held back, when no stop text came
  bool stopped() const { return stopped_; }

 private:
  std::size_t held_back() const;

  std::vector<std::string> stop_texts_;
  std::string pending_;
  bool stopped_ = false;
};

}  // namespace sinkrouter
