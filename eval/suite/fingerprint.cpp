#include "eval/suite/fingerprint.h"

#include <fmt/format.h>

#include <system_error>

#include "base/file.h"
#include "base/mapped_file.h"

namespace sinkrouter {
namespace {

constexpr std::size_t kSample = 4096;  // bytes
constexpr std::size_t kSamples = 256;  // of a file, evenly spread

bool is_part_of_model(const std::filesystem::path& path) {
  const std::string extension = path.extension().string();
  return extension == ".safetensors" || extension == ".model" || path.filename() == "config.json" ||
         path.filename() == "tokenizer.json" || path.filename() == "tokenizer_config.json";
}

void add_file(Fingerprint& fingerprint, const std::filesystem::path& path) {
  const MappedFile file(path);
  const std::string_view content(reinterpret_cast<const char*>(file.bytes().data()),
                                 file.bytes().size());
  fingerprint.add(path.filename().string());
  fingerprint.add(content.size());
  if (content.size() <= kSample * kSamples) {
    fingerprint.add(content);
    return;
  }
  for (std::size_t i = 0; i < kSamples; ++i) {
    const std::size_t at = (content.size() - kSample) / (kSamples - 1) * i;
    fingerprint.add(content.substr(at, kSample));
  }
}

}  // namespace

void Fingerprint::add(std::string_view bytes) {
  constexpr std::uint64_t kPrime = 0x100000001b3ull;
  for (char byte : bytes) state_ = (state_ ^ static_cast<unsigned char>(byte)) * kPrime;
}

void Fingerprint::add(std::uint64_t number) {
  for (int shift = 0; shift < 64; shift += 8) {
    const char byte = static_cast<char>(number >> shift & 0xff);
    add(std::string_view(&byte, 1));
  }
}

std::string Fingerprint::hex() const { return fmt::format("{:016x}", state_); }

std::string text_fingerprint(std::span<const std::string> texts) {
  if (texts.empty()) return {};
  Fingerprint fingerprint;
  for (const std::string& text : texts) {
    fingerprint.add(text.size());
    fingerprint.add(text);
  }
  return fingerprint.hex();
}

std::string model_fingerprint(const std::filesystem::path& directory) {
  Fingerprint fingerprint;
  for (const std::string& name : file_names(directory)) {
    const std::filesystem::path file = directory / name;
    std::error_code ignored;
    if (is_part_of_model(file) && std::filesystem::is_regular_file(file, ignored)) {
      add_file(fingerprint, file);
    }
  }
  return fingerprint.hex();
}

}  // namespace sinkrouter
