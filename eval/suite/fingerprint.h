#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace sinkrouter {

// FNV-1a over everything added, 64 bits. Tells whether two things are the same, nothing more.
class Fingerprint {
 public:
  void add(std::string_view bytes);
  void add(std::uint64_t number);
  std::uint64_t value() const { return state_; }
  std::string hex() const;  // 16 digits

 private:
  std::uint64_t state_ = 0xcbf29ce484222325ull;
};

std::string text_fingerprint(std::span<const std::string> texts);  // empty for no texts

// Of a checkpoint directory: names and sizes of its JSON, tokenizer and weight files, and samples
// of what is in them. Large files are not read whole. Throws Error when one cannot be read.
std::string model_fingerprint(const std::filesystem::path& directory);

}  // namespace sinkrouter
