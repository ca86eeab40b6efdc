#include <cstddef>
#include <cstdint>

#include "sinkrouter/error.h"
#include "tokenizer_probe.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    sinkrouter::probe(sinkrouter::text::parse_tokenizer_json(
        {reinterpret_cast<const char*>(data), size}, "tokenizer.json"));
  } catch (const sinkrouter::Error&) {
  }
  return 0;
}
