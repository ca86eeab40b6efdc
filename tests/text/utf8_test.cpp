#include "text/utf8.h"

#include <gtest/gtest.h>

#include <random>

#include "sinkrouter/error.h"
#include "text/byte_level.h"
#include "text/tokenizer_files.h"
#include "text/unicode_standins.h"

namespace sinkrouter::text {
namespace {

using test::random_bytes;

TEST(Utf8Test, EveryCharacterSurvivesEncodingAndDecoding) {
  for (char32_t character = 0; character < 0x110000; ++character) {
    if (character >= 0xD800 && character < 0xE000) continue;
    std::string bytes;
    utf8_append(character, bytes);
    const Utf8Unit unit = utf8_unit(bytes, 0);
    ASSERT_EQ(unit.kind, Utf8Kind::kCharacter) << std::hex << +character;
    ASSERT_EQ(unit.length, static_cast<int>(bytes.size())) << std::hex << +character;
    ASSERT_EQ(utf8_decode(bytes, 0), character);
  }
}

TEST(Utf8Test, RefusesWhatIsNoCharacter) {
  for (const std::string_view bytes :
       {"\x80", "\xBF", "\xC0\x80", "\xC1\xBF", "\xE0\x9F\xBF", "\xED\xA0\x80", "\xF0\x8F\xBF\xBF",
        "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF", "\xE2\x82", "a\xC3"}) {
    EXPECT_FALSE(is_utf8(bytes)) << testing::PrintToString(bytes);
  }
  EXPECT_TRUE(is_utf8(std::string_view("a\0b", 3)));
}

TEST(Utf8Test, ErrorNamesTheByte) {
  try {
    require_utf8("ab\xC3(");
    FAIL() << "expected an Error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), Error::Kind::kInvalidArgument);
    EXPECT_NE(std::string(error.what()).find("byte 2 (0xC3)"), std::string::npos) << error.what();
  }
}

std::string join(std::string_view bytes, Utf8Joiner::Repair repair) {
  Utf8Joiner joiner(repair);
  std::string out;
  joiner.push(bytes, out);
  joiner.flush(out);
  return out;
}

TEST(Utf8JoinerTest, RepairsPerSequenceOrPerByte) {
  const std::string mark(kReplacementCharacter);
  const std::string_view cut = "a\xE2\x82z\xF0\x9F\xA6";
  EXPECT_EQ(join(cut, Utf8Joiner::Repair::kPerSequence), "a" + mark + "z" + mark);
  EXPECT_EQ(join(cut, Utf8Joiner::Repair::kPerByte), "a" + mark + mark + "z" + mark + mark + mark);
}

TEST(Utf8JoinerTest, PiecesDoNotMatterAndNeverSplitACharacter) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE(seed);
  Rng rng(seed);
  for (int round = 0; round < 2000; ++round) {
    const auto repair =
        round % 2 == 0 ? Utf8Joiner::Repair::kPerSequence : Utf8Joiner::Repair::kPerByte;
    const std::string bytes = test::random_text(rng) + random_bytes(rng, rng.below(6));
    Utf8Joiner joiner(repair);
    std::string joined;
    for (std::size_t at = 0; at < bytes.size();) {
      const std::size_t count = 1 + rng.below(3);
      std::string out;
      joiner.push(std::string_view(bytes).substr(at, count), out);
      ASSERT_TRUE(is_utf8(out));
      joined += out;
      at += count;
    }
    joiner.flush(joined);
    ASSERT_EQ(joined, join(bytes, repair));
  }
}

TEST(ByteLevelTest, SpellsEveryByteAndBack) {
  std::string bytes;
  for (int byte = 0; byte < 256; ++byte) bytes += static_cast<char>(byte);
  const std::string spelling = to_byte_level(bytes);
  EXPECT_TRUE(is_utf8(spelling));
  EXPECT_EQ(from_byte_level(spelling), bytes);
  EXPECT_EQ(to_byte_level(" a\n"),
            "\xC4\xA0"
            "a"
            "\xC4\x8A");
  EXPECT_FALSE(from_byte_level("a b").has_value());
  EXPECT_FALSE(from_byte_level("\xE2\x96\x81").has_value());
}

TEST(UnicodeStandInsTest, KeepLengthAndOrdinaryText) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE(seed);
  Rng rng(seed);
  for (int round = 0; round < 500; ++round) {
    const std::string text = test::random_text(rng);
    const std::string other = with_unicode_standins(text);
    ASSERT_TRUE(is_utf8(other));
    ASSERT_EQ(other.size(), text.size());
    for (std::size_t at = 0; at < text.size(); at += utf8_length(text[at])) {
      ASSERT_EQ(utf8_length(other[at]), utf8_length(text[at]));
    }
  }
  EXPECT_EQ(with_unicode_standins("naïve 中文 🦙"), "naïve 中文 🦙");
  EXPECT_NE(with_unicode_standins("\xE1\xA0\x8E"), "\xE1\xA0\x8E");  // U+180E, no space any more
}

}  // namespace
}  // namespace sinkrouter::text
