#include <cstddef>
#include <cstdint>

#include "sinkrouter/error.h"
#include "tokenizer_probe.h"

// The first byte picks the format that the rest is read as.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view content(reinterpret_cast<const char*>(data) + 1, size - 1);
  try {
    sinkrouter::probe(data[0] == 't'
                          ? sinkrouter::text::parse_tiktoken(content, "tokenizer.model")
                          : sinkrouter::text::parse_sentence_piece(content, "tokenizer.model"));
  } catch (const sinkrouter::Error&) {
  }
  return 0;
}
