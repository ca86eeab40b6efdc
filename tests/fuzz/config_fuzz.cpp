#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "model/config.h"
#include "sinkrouter/error.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const sinkrouter::LlamaConfig config =
        sinkrouter::parse_llama_config({reinterpret_cast<const char*>(data), size}, "fuzz.json");
    if (config.q_heads % config.kv_heads != 0) __builtin_trap();
    for (const double frequency : sinkrouter::inverse_frequencies(config)) {
      if (!std::isfinite(frequency) || frequency < 0 || frequency > 1) __builtin_trap();
    }
  } catch (const sinkrouter::Error&) {
  }
  return 0;
}
