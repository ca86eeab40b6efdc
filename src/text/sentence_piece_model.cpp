#include "text/sentence_piece_model.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <optional>

#include "base/check.h"
#include "base/quotes.h"
#include "text/loaded_tokenizer.h"
#include "text/utf8.h"

namespace sinkrouter::text {
namespace {

constexpr std::size_t kMaxPieceBytes = 512;

// Field numbers of sentencepiece_model.proto.
constexpr std::uint32_t kModelPieces = 1;
constexpr std::uint32_t kModelTrainer = 2;
constexpr std::uint32_t kModelNormalizer = 3;
constexpr std::uint32_t kModelDenormalizer = 5;
constexpr std::uint32_t kPieceText = 1;
constexpr std::uint32_t kPieceScore = 2;
constexpr std::uint32_t kTrainerModelType = 3;
constexpr std::uint32_t kTrainerSuffixSpaces = 24;
constexpr std::uint32_t kNormalizerCharsMap = 2;
constexpr std::uint32_t kNormalizerDummyPrefix = 3;
constexpr std::uint64_t kBpe = 2;
constexpr std::uint64_t kUnigram = 1;  // what an absent model_type means

// One field of a protobuf message.
struct WireField {
  std::uint32_t number = 0;
  std::uint64_t integer = 0;  // a varint or fixed-size value
  std::string_view bytes;     // a length-delimited value
};

class WireReader {
 public:
  WireReader(std::string_view bytes, const std::string& file) : bytes_(bytes), file_(file) {}

  std::optional<WireField> next() {
    if (at_ == bytes_.size()) return std::nullopt;
    const std::uint64_t tag = varint();
    WireField field;
    field.number = static_cast<std::uint32_t>(tag >> 3);
    switch (tag & 7) {
      case 0:
        field.integer = varint();
        break;
      case 1:
        field.integer = fixed(8);
        break;
      case 2:
        field.bytes = take(varint());
        break;
      case 5:
        field.integer = fixed(4);
        break;
      default:
        fail();
    }
    return field;
  }

 private:
  [[noreturn]] void fail() const {
    throw Error(Error::Kind::kInvalidFile,
                fmt::format("{}: truncated or broken, expected a SentencePiece model", file_));
  }

  std::string_view take(std::uint64_t count) {
    if (count > bytes_.size() - at_) fail();
    const std::string_view taken = bytes_.substr(at_, count);
    at_ += count;
    return taken;
  }

  std::uint64_t fixed(int size) {
    std::uint64_t value = 0;
    int shift = 0;
    for (const char byte : take(size)) {
      value |= static_cast<std::uint64_t>(static_cast<std::uint8_t>(byte)) << shift;
      shift += 8;
    }
    return value;
  }

  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<std::uint8_t>(take(1)[0]);
      value |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return value;
    }
    fail();
  }

  std::string_view bytes_;
  const std::string& file_;
  std::size_t at_ = 0;
};

void check_piece(std::string_view bytes, int index, const std::string& file) {
  WireReader reader(bytes, file);
  while (const auto field = reader.next()) {
    if (field->number == kPieceText) {
      const std::string_view piece = field->bytes;
      const bool is_usable = !piece.empty() && piece.size() <= kMaxPieceBytes && is_utf8(piece) &&
                             piece.find('\0') == std::string_view::npos;
      SR_CHECK(is_usable, kInvalidFile,
               "{}: piece {} is {}, expected 1 to {} bytes of UTF-8 without NUL", file, index,
               is_utf8(piece) ? in_quotes(piece) : "invalid UTF-8", kMaxPieceBytes);
    } else if (field->number == kPieceScore) {
      const auto score = std::bit_cast<float>(static_cast<std::uint32_t>(field->integer));
      SR_CHECK(std::isfinite(score), kInvalidFile,
               "{}: piece {} has score {}, expected a finite number", file, index, score);
    }
  }
}

void check_normalizer(std::string_view bytes, const std::string& file, SentencePieceModel* model) {
  WireReader reader(bytes, file);
  while (const auto field = reader.next()) {
    if (field->number == kNormalizerCharsMap) {
      SR_CHECK(field->bytes.empty(), kInvalidFile,
               "{}: normalizer_spec.precompiled_charsmap has {} bytes, expected none: only the "
               "identity normalizer is supported",
               file, field->bytes.size());
    } else if (field->number == kNormalizerDummyPrefix && model != nullptr) {
      model->adds_dummy_prefix = field->integer != 0;
    }
  }
}

}  // namespace

SentencePieceModel inspect_sentence_piece(std::string_view bytes, const std::string& file) {
  SentencePieceModel model;
  std::uint64_t model_type = kUnigram;
  int pieces = 0;
  WireReader reader(bytes, file);
  while (const auto field = reader.next()) {
    switch (field->number) {
      case kModelPieces:
        SR_CHECK(pieces < kMaxVocabulary, kInvalidFile, "{}: too many pieces, expected at most {}",
                 file, kMaxVocabulary);
        check_piece(field->bytes, pieces++, file);
        break;
      case kModelTrainer: {
        WireReader trainer(field->bytes, file);
        while (const auto entry = trainer.next()) {
          if (entry->number == kTrainerModelType) model_type = entry->integer;
          SR_CHECK(entry->number != kTrainerSuffixSpaces || entry->integer == 0, kInvalidFile,
                   "{}: treat_whitespace_as_suffix is true, expected false", file);
        }
        break;
      }
      case kModelNormalizer:
        check_normalizer(field->bytes, file, &model);
        break;
      case kModelDenormalizer:
        check_normalizer(field->bytes, file, nullptr);
        break;
      default:
        break;
    }
  }
  SR_CHECK(model_type == kBpe, kInvalidFile, "{}: model_type is {}, expected {} (BPE)", file,
           model_type, kBpe);
  SR_CHECK(pieces > 0, kInvalidFile, "{}: no pieces, expected a SentencePiece model", file);
  return model;
}

}  // namespace sinkrouter::text
