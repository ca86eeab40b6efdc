#include <sentencepiece_processor.h>

#include "base/check.h"
#include "base/quotes.h"
#include "text/loaded_tokenizer.h"
#include "text/sentence_piece_model.h"

namespace sinkrouter::text {
namespace {

using Processor = sentencepiece::SentencePieceProcessor;

class SentencePieceEncoder final : public TextEncoder {
 public:
  SentencePieceEncoder(std::unique_ptr<const Processor> processor,
                       std::vector<AddedToken> special_tokens)
      : processor_(std::move(processor)), special_tokens_(std::move(special_tokens)) {}

  // Text after a special token begins with a space of its own, as every text does.
  void encode(std::string_view text, bool parse_special, std::vector<int>& out) const override {
    std::vector<int> ids;
    for (const TextPart& part : special_tokens_.find(text, parse_special)) {
      if (part.id >= 0) {
        out.push_back(part.id);
        continue;
      }
      const auto status = processor_->Encode(part.span.of(text), &ids);
      SR_CHECK(status.ok(), kInvalidArgument, "tokenizer.model: encoding failed: {}",
               status.error_message());
      out.insert(out.end(), ids.begin(), ids.end());
    }
  }

 private:
  std::unique_ptr<const Processor> processor_;
  AddedTokenFinder special_tokens_;
};

std::optional<int> valid_id(int id) { return id < 0 ? std::nullopt : std::optional(id); }

}  // namespace

LoadedTokenizer parse_sentence_piece(std::string_view content, const std::string& file) {
  const SentencePieceModel model = inspect_sentence_piece(content, file);
  auto processor = std::make_unique<Processor>();
  const auto status = processor->LoadFromSerializedProto(content);
  SR_CHECK(status.ok(), kInvalidFile, "{}: not a usable SentencePiece model: {}", file,
           in_quotes(status.error_message()));

  LoadedTokenizer result;
  std::vector<AddedToken> special_tokens;
  for (int id = 0; id < processor->GetPieceSize(); ++id) {
    const bool special = processor->IsControl(id) || processor->IsUnknown(id);
    result.tokens.push_back({processor->IdToPiece(id), special});
    if (special)
      special_tokens.push_back({.content = processor->IdToPiece(id), .id = id, .special = true});
  }
  result.bos_id = valid_id(processor->bos_id());
  result.eos_id = valid_id(processor->eos_id());
  result.adds_bos = true;
  result.decoder = Decoder::sentence_piece(model.adds_dummy_prefix);
  result.encoder =
      std::make_unique<SentencePieceEncoder>(std::move(processor), std::move(special_tokens));
  return result;
}

}  // namespace sinkrouter::text
