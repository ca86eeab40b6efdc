#include <cstddef>
#include <cstdint>
#include <string_view>

#include "model/checkpoint.h"
#include "sinkrouter/error.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const auto file_of = sinkrouter::parse_checkpoint_index(
        {reinterpret_cast<const char*>(data), size}, "fuzz.index.json");
    for (const auto& [tensor, file] : file_of) {
      if (file.find('/') != std::string::npos || !file.ends_with(".safetensors")) __builtin_trap();
    }
  } catch (const sinkrouter::Error&) {
  }
  return 0;
}
