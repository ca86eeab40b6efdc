#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace sinkrouter::cli {

// Text in aligned columns: the first left, the others right.
class Table {
 public:
  explicit Table(std::vector<std::string> header) : rows_{std::move(header)} {}

  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  std::string text() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

std::string percent(double share);  // "14.2%"

// With quotation marks, line breaks and other control characters escaped.
std::string escaped(std::string_view text);

// Writes to standard output at once; throws Error when it cannot (a full disk).
void print(std::string_view text);

}  // namespace sinkrouter::cli
