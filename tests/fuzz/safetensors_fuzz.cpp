#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "model/safetensors.h"
#include "model/safetensors_header.h"
#include "sinkrouter/error.h"

namespace {

using namespace sinkrouter;

void check_inside(const SafetensorsEntries& entries, std::uint64_t data_bytes) {
  std::uint64_t total = 0;
  for (const auto& [name, entry] : entries) {
    if (entry.begin > entry.end || entry.end > data_bytes) __builtin_trap();
    total += entry.end - entry.begin;
  }
  if (total != data_bytes) __builtin_trap();
}

// The input as a whole file.
void fuzz_file(std::span<const std::byte> bytes) {
  try {
    const SafetensorsHeader header = parse_safetensors_header(bytes, "fuzz.safetensors");
    check_inside(header.tensors, bytes.size() - header.data_start);
  } catch (const Error&) {
  }
}

// The input as a header alone: the first two bytes say how much data follows it.
void fuzz_header(std::span<const std::byte> bytes) {
  if (bytes.size() < 2) return;
  const std::uint64_t data_bytes =
      std::to_integer<std::uint64_t>(bytes[0]) + 256 * std::to_integer<std::uint64_t>(bytes[1]);
  const std::span<const std::byte> json = bytes.subspan(2);
  try {
    const SafetensorsEntries entries = parse_safetensors_entries(
        {reinterpret_cast<const char*>(json.data()), json.size()}, data_bytes, "fuzz.safetensors");
    check_inside(entries, data_bytes);
  } catch (const Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  fuzz_file(bytes);
  fuzz_header(bytes);
  return 0;
}
