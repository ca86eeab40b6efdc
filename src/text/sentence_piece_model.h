#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace sinkrouter::text {

// What tokenizer.model says beyond SentencePiece's interface, from its protobuf.
struct SentencePieceModel {
  bool adds_dummy_prefix = true;  // a space before every text
};

// Throws Error unless `bytes` is a BPE model that the SentencePiece library can be trusted with:
// the library believes its input, and fails or reads out of bounds on some.
SentencePieceModel inspect_sentence_piece(std::string_view bytes, const std::string& file);

}  // namespace sinkrouter::text
