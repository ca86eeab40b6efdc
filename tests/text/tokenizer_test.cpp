#include "sinkrouter/tokenizer.h"

#include <gtest/gtest.h>

#include <chrono>
#include <random>
#include <thread>

#include "sinkrouter/error.h"
#include "text/tokenizer_files.h"
#include "text/utf8.h"

namespace sinkrouter {
namespace {

using test::byte_level_description;
using test::load_json;
using test::random_text;
using test::sentence_piece_description;
using test::TemporaryDirectory;

using Ids = std::vector<int>;

std::unique_ptr<Tokenizer> embedded() {
  return Tokenizer::load(SINKROUTER_SOURCE_DIR "/models/sinkling-15m");
}

Ids random_ids(Rng& rng, const Tokenizer& tokenizer) {
  Ids ids;
  const std::uint64_t count = rng.below(30);
  for (std::uint64_t i = 0; i < count; ++i) {
    ids.push_back(static_cast<int>(rng.below(tokenizer.vocab_size() + 3)));
  }
  return ids;
}

TEST(TokenizerTest, ByteLevelTextSurvives) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE(seed);
  Rng rng(seed);
  for (const auto& tokenizer : {embedded(), load_json(byte_level_description()),
                                test::load_model(test::tiktoken_model())}) {
    for (int round = 0; round < 3000; ++round) {
      const std::string text = random_text(rng);
      ASSERT_EQ(tokenizer->decode(tokenizer->encode(text)), text);
    }
  }
}

TEST(TokenizerTest, SentencePieceKindTextSurvives) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE(seed);
  Rng rng(seed);
  const auto tokenizer = load_json(sentence_piece_description());
  for (int round = 0; round < 3000; ++round) {
    std::string text = random_text(rng);
    std::erase(text, '\xE2');  // "▁" means a space
    if (!text::is_utf8(text)) continue;
    ASSERT_EQ(tokenizer->decode(tokenizer->encode(text)), text);
  }
}

TEST(TokenizerTest, AddsAndParsesSpecialTokensOnlyWhenAsked) {
  const auto tokenizer = load_json(byte_level_description());
  const int the = *tokenizer->find("the");
  EXPECT_EQ(tokenizer->encode("the"), (Ids{300, the}));
  EXPECT_EQ(tokenizer->encode("the", {.add_special = false}), (Ids{the}));
  EXPECT_EQ(tokenizer->encode("the<|eot|>", {.add_special = false, .parse_special = true}),
            (Ids{the, 301}));
  EXPECT_GT(tokenizer->encode("<|eot|>", {.add_special = false}).size(), 1u);
  EXPECT_EQ(tokenizer->encode(""), (Ids{300}));
  EXPECT_EQ(tokenizer->decode(Ids{300, the, 301}), "the");
  EXPECT_EQ(tokenizer->decode(Ids{300, the, 301}, false), "<|bos|>the<|eot|>");
}

TEST(TokenizerTest, InvalidUtf8IsAnErrorThatNamesTheByte) {
  const auto tokenizer = embedded();
  for (const std::string_view text : {"abc\xFF", "abc\xE2\x82", "abc\xC0\x80", "abc\xED\xA0\x80"}) {
    try {
      tokenizer->encode(text);
      FAIL() << "expected an Error";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), Error::Kind::kInvalidArgument);
      EXPECT_NE(std::string(error.what()).find("byte 3 "), std::string::npos) << error.what();
    }
  }
}

TEST(TokenizerTest, IdsThatStandForNothingAreNoText) {
  const auto tokenizer = load_json(byte_level_description());
  EXPECT_EQ(tokenizer->vocab_size(), 302);
  EXPECT_EQ(tokenizer->decode(Ids{299, 302, 1 << 30, 'h'}), "h");
  EXPECT_EQ(tokenizer->piece(299), "");
  EXPECT_FALSE(tokenizer->is_special(1 << 30));
  EXPECT_THROW(tokenizer->decode(Ids{-1}), Error);
  EXPECT_THROW(tokenizer->piece(302), Error);
}

TEST(TokenizerTest, ManyThreadsMayEncodeAtOnce) {
  const auto tokenizer = embedded();
  const std::string text = "Sinks keep the mass; the rest may be left unread. 12345 ünïcödé\n";
  const Ids expected = tokenizer->encode(text);
  std::vector<std::thread> threads;
  std::vector<int> same(4);
  for (int& count : same) {
    threads.emplace_back([&] {
      for (int i = 0; i < 200; ++i) count += tokenizer->encode(text) == expected ? 1 : 0;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(same, (std::vector<int>(4, 200)));
}

TEST(StreamDecoderTest, PiecesConcatenateToDecodeAndSplitNoCharacter) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE(seed);
  Rng rng(seed);
  for (const auto& tokenizer :
       {embedded(), load_json(sentence_piece_description()),
        test::load_model(test::sentence_piece_model(test::llama_like_pieces()))}) {
    StreamDecoder decoder(*tokenizer);
    for (int round = 0; round < 2000; ++round) {
      const Ids ids =
          round % 2 == 0 ? random_ids(rng, *tokenizer) : tokenizer->encode(random_text(rng));
      std::string streamed;
      for (const int id : ids) {
        const std::string piece = decoder.push(id);
        ASSERT_TRUE(text::is_utf8(piece));
        streamed += piece;
      }
      const std::string rest = decoder.flush();
      ASSERT_TRUE(text::is_utf8(rest));
      ASSERT_EQ(streamed + rest, tokenizer->decode(ids));
    }
  }
}

TEST(StreamDecoderTest, TellsTextAsSoonAsItIsCertain) {
  const auto bytes = load_json(byte_level_description());
  StreamDecoder decoder(*bytes);
  EXPECT_EQ(decoder.push(0xE2), "");
  EXPECT_EQ(decoder.push(0x82), "");
  EXPECT_EQ(decoder.push(0xAC), "€");
  EXPECT_EQ(decoder.push(0xF0), "");
  EXPECT_EQ(decoder.push('h'), "\uFFFDh");
  EXPECT_EQ(decoder.push(0x9F), "\uFFFD");
  EXPECT_EQ(decoder.push(0xC3), "");
  EXPECT_EQ(decoder.flush(), "\uFFFD");

  const auto llama = load_json(sentence_piece_description());
  StreamDecoder spaces(*llama);
  const int space = *llama->find("▁");
  EXPECT_EQ(spaces.push(1), "");  // "<s>" does not count as the text's start
  EXPECT_EQ(spaces.push(space), "");
  EXPECT_EQ(spaces.push(space), " ");
  EXPECT_EQ(spaces.push(*llama->find("▁the")), " the");
  EXPECT_EQ(spaces.flush(), "");
  EXPECT_EQ(spaces.push(*llama->find("▁the")), "the");
}

std::string spaces_to(std::size_t size, std::string_view unit) {
  std::string text;
  while (text.size() < size) text += unit;
  return text;
}

// Not a benchmark: a quadratic step would take minutes.
TEST(TokenizerTest, AMegabyteTakesNoTimeWhateverIsInIt) {
  constexpr std::size_t kMebibyte = 1 << 20;
  for (const auto& tokenizer : {embedded(), load_json(sentence_piece_description())}) {
    for (const std::string_view unit :
         {"a", " ", "\n", " \xC2\xA0", "🦙", "the hello 123, and\n", "<|", "'"}) {
      const auto start = std::chrono::steady_clock::now();
      tokenizer->encode(spaces_to(kMebibyte, unit), {.parse_special = true});
      const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
      EXPECT_LT(took.count(), 20.0) << testing::PrintToString(unit);
    }
  }
}

class SpecialIdsTest : public testing::Test {
 protected:
  SpecialIdsTest() { directory_.write("tokenizer.json", byte_level_description().dump()); }

  Ids stop_ids() const {
    const auto tokenizer = Tokenizer::load(directory_.path());
    return {tokenizer->stop_ids().begin(), tokenizer->stop_ids().end()};
  }
  std::string load_error() const {
    try {
      Tokenizer::load(directory_.path());
    } catch (const Error& error) {
      return error.what();
    }
    return "no Error";
  }

  TemporaryDirectory directory_;
};

TEST_F(SpecialIdsTest, AreUnknownWithoutConfiguration) {
  const auto tokenizer = Tokenizer::load(directory_.path());
  EXPECT_FALSE(tokenizer->bos_id().has_value());
  EXPECT_FALSE(tokenizer->eos_id().has_value());
  EXPECT_TRUE(tokenizer->stop_ids().empty());
}

TEST_F(SpecialIdsTest, ComeFromAllConfigurations) {
  directory_.write("config.json", R"({"bos_token_id": 7, "eos_token_id": 65})");
  directory_.write("generation_config.json", R"({"bos_token_id": 300, "eos_token_id": [301, 66]})");
  EXPECT_EQ(stop_ids(), (Ids{65, 66, 301}));
  EXPECT_EQ(Tokenizer::load(directory_.path())->bos_id(), 300);
  EXPECT_EQ(Tokenizer::load(directory_.path())->eos_id(), 301);
  directory_.write("tokenizer_config.json",
                   R"({"bos_token": {"content": "<|bos|>"}, "eos_token": "the"})");
  const auto tokenizer = Tokenizer::load(directory_.path());
  EXPECT_EQ(tokenizer->bos_id(), 300);
  EXPECT_EQ(tokenizer->eos_id(), tokenizer->find("the"));
  EXPECT_EQ(stop_ids(), (Ids{65, 66, *tokenizer->find("the"), 301}));
}

TEST_F(SpecialIdsTest, MayAddBosAndEosWithoutATemplate) {
  nlohmann::json description = byte_level_description();
  description["post_processor"] = nullptr;
  directory_.write("tokenizer.json", description.dump());
  EXPECT_EQ(Tokenizer::load(directory_.path())->encode("h"), (Ids{'h'}));
  directory_.write("tokenizer_config.json",
                   R"({"bos_token": "<|bos|>", "eos_token": "<|eot|>", "add_bos_token": true,
                       "add_eos_token": true})");
  EXPECT_EQ(Tokenizer::load(directory_.path())->encode("h"), (Ids{300, 'h', 301}));
  directory_.write("tokenizer_config.json",
                   R"({"bos_token": "<|bos|>", "tokenizer_class": "LlamaTokenizerFast"})");
  EXPECT_EQ(Tokenizer::load(directory_.path())->encode("h"), (Ids{300, 'h'}));
}

TEST_F(SpecialIdsTest, BrokenConfigurationIsAClearError) {
  const auto error_with = [&](std::string_view name, std::string_view content) {
    directory_.write(name, content);
    const std::string message = load_error();
    std::filesystem::remove(directory_.path() / name);
    EXPECT_NE(message.find(name), std::string::npos) << message;
    return message;
  };
  EXPECT_NE(error_with("config.json", "{").find("not valid JSON"), std::string::npos);
  EXPECT_NE(error_with("config.json", R"({"eos_token_id": -1})").find("eos_token_id: found -1"),
            std::string::npos);
  EXPECT_NE(error_with("generation_config.json", R"({"eos_token_id": [1, "x"]})")
                .find("eos_token_id[1]: found 'x'"),
            std::string::npos);
  EXPECT_NE(error_with("tokenizer_config.json", R"({"bos_token": "<nope>"})").find("'<nope>'"),
            std::string::npos);
  directory_.write("config.json", R"({"bos_token_id": 5000})");
  EXPECT_NE(load_error().find("bos_token_id is 5000"), std::string::npos);
}

TEST_F(SpecialIdsTest, LinksThatLeadNowhereAreClearErrors) {
  for (const char* name : {"config.json", "generation_config.json", "tokenizer_config.json",
                           "tokenizer.json", "tokenizer.model"}) {
    const std::filesystem::path file = directory_.path() / name;
    std::filesystem::remove(file);
    std::filesystem::create_symlink(name, file);  // to itself
    const std::string message = load_error();
    EXPECT_NE(message.find("cannot look at " + file.string()), std::string::npos) << message;
    std::filesystem::remove(file);
  }
}

TEST(TokenizerTest, DirectoriesWithoutATokenizerAreErrors) {
  const TemporaryDirectory directory;
  EXPECT_THROW(Tokenizer::load(directory.path()), Error);
  EXPECT_THROW(Tokenizer::load(directory.path() / "missing"), Error);
  std::filesystem::create_directory(directory.path() / "tokenizer.json");
  EXPECT_THROW(Tokenizer::load(directory.path()), Error);
}

}  // namespace
}  // namespace sinkrouter
