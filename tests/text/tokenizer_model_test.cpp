// tokenizer.model: SentencePiece and tiktoken, good and broken.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "sinkrouter/error.h"
#include "text/tokenizer_files.h"

namespace sinkrouter {
namespace {

using test::load_model;
using test::wire_field;

std::string load_error(std::string_view content) {
  try {
    load_model(content);
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << error.what();
    return error.what();
  }
  return "no Error";
}

void expect_error(std::string_view content, std::string_view expected) {
  const std::string message = load_error(content);
  EXPECT_NE(message.find(expected), std::string::npos) << message;
}

TEST(SentencePieceTest, EncodesAndDecodesAsLlama2Does) {
  const auto tokenizer = load_model(test::sentence_piece_model(test::llama_like_pieces()));
  const auto pieces = [&](std::string_view text, const EncodeOptions& options = {}) {
    std::string joined;
    for (const int id : tokenizer->encode(text, options)) {
      joined += std::string(tokenizer->piece(id)) + " ";
    }
    return joined;
  };
  EXPECT_EQ(pieces("the band"), "<s> ▁the ▁ b and ");
  EXPECT_EQ(pieces("é", {.add_special = false}), "▁ <0xC3> <0xA9> ");
  EXPECT_EQ(pieces("a</s>b"), "<s> ▁ a <0x3C> <0x2F> s <0x3E> b ");
  EXPECT_EQ(pieces("a</s>b", {.parse_special = true}), "<s> ▁ a </s> ▁ b ");
  EXPECT_EQ(pieces(""), "<s> ");
  EXPECT_EQ(tokenizer->bos_id(), 1);
  EXPECT_EQ(tokenizer->eos_id(), 2);
  EXPECT_EQ(std::vector<int>(tokenizer->stop_ids().begin(), tokenizer->stop_ids().end()),
            std::vector<int>{2});
  EXPECT_TRUE(tokenizer->is_special(0));
  EXPECT_FALSE(tokenizer->is_special(300));
  for (const std::string_view text : {"the band", " the  band ", "é🦙\n", "", " "}) {
    EXPECT_EQ(tokenizer->decode(tokenizer->encode(text)), text);
  }
  EXPECT_EQ(tokenizer->decode(tokenizer->encode("the"), false), "<s> the");
}

TEST(SentencePieceTest, RefusesBrokenModels) {
  const auto pieces = test::llama_like_pieces();
  const auto with = [&](test::ScoredPiece piece) {
    auto changed = pieces;
    changed.push_back(std::move(piece));
    return test::sentence_piece_model(changed);
  };
  expect_error("", "empty");
  expect_error("\x0A", "truncated or broken");
  expect_error(std::string("\x0A\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", 12), "broken");
  expect_error(test::sentence_piece_model({}), "no pieces");
  expect_error(test::sentence_piece_model(pieces, 1), "model_type is 1, expected 2 (BPE)");
  expect_error(test::sentence_piece_model(pieces, 2, wire_field(2, "charsmap")),
               "precompiled_charsmap has 8 bytes");
  expect_error(with({"", -1}), "expected 1 to 512 bytes");
  expect_error(with({std::string("a\0b", 3), -1}), "without NUL");
  expect_error(with({"\xFF", -1}), "invalid UTF-8");
  expect_error(with({std::string(600, 'x'), -1}), "expected 1 to 512 bytes");
  expect_error(with({"xx", std::nanf("")}), "expected a finite number");
  expect_error(with({"and", -1}), "not a usable SentencePiece model");
  expect_error(test::sentence_piece_model({{"a", 0, 1}}), "not a usable SentencePiece model");
}

TEST(SentencePieceTest, TruncationsAndFlippedBytesNeverCrash) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE(seed);
  Rng rng(seed);
  const std::string whole = test::sentence_piece_model(test::llama_like_pieces());
  for (int round = 0; round < 500; ++round) {
    std::string spoiled = whole.substr(0, round % 2 == 0 ? rng.below(whole.size()) : whole.size());
    if (round % 2 != 0) spoiled[rng.below(spoiled.size())] = static_cast<char>(rng.below(256));
    try {
      load_model(spoiled)->encode("the é </s>", {.parse_special = true});
    } catch (const Error&) {
      continue;
    }
  }
}

TEST(TiktokenTest, HasLlama3SpecialTokens) {
  const auto tokenizer = load_model(test::tiktoken_model());
  const int first = tokenizer->vocab_size() - 256;
  EXPECT_EQ(tokenizer->find("<|begin_of_text|>"), first);
  EXPECT_EQ(tokenizer->find("<|end_of_text|>"), first + 1);
  EXPECT_EQ(tokenizer->find("<|finetune_right_pad_id|>"), first + 4);
  EXPECT_EQ(tokenizer->find("<|start_header_id|>"), first + 6);
  EXPECT_EQ(tokenizer->find("<|eot_id|>"), first + 9);
  EXPECT_EQ(tokenizer->find("<|python_tag|>"), first + 10);
  EXPECT_EQ(tokenizer->find("<|reserved_special_token_3|>"), first + 11);
  EXPECT_EQ(tokenizer->find("<|reserved_special_token_247|>"), first + 255);
  EXPECT_EQ(tokenizer->bos_id(), first);
  EXPECT_EQ(tokenizer->encode("the"), (std::vector<int>{first, *tokenizer->find("the")}));
  EXPECT_EQ(tokenizer->encode("<|eot_id|>", {.add_special = false, .parse_special = true}),
            (std::vector<int>{first + 9}));
  EXPECT_EQ(tokenizer->decode(tokenizer->encode("<|eot_id|>")), "<|eot_id|>");
  EXPECT_EQ(tokenizer->decode(std::vector{first + 9}), "");
  EXPECT_EQ(tokenizer->decode(std::vector{first + 9}, false), "<|eot_id|>");
}

TEST(TiktokenTest, RefusesBrokenRanks) {
  const std::string good = test::tiktoken_model();
  const auto lines = static_cast<int>(std::count(good.begin(), good.end(), '\n'));
  const std::string next = std::to_string(lines);
  expect_error("hello\n", "line 1: expected a base64 piece");
  expect_error("YQ== x\n", "line 1: expected rank 0");
  expect_error("YQ== 0\n", "no piece for byte 0x00");
  expect_error("YQ== 99999999999999999999\n", "expected rank 0");
  expect_error("YQ==\n", "expected rank 0");
  expect_error("YQ= 0\n", "line 1: expected a base64 piece");
  expect_error("Y=Q= 0\n", "line 1: expected a base64 piece");
  expect_error(good + "YQ== " + next + "\n", "is there twice");
  expect_error(good + "eHh4 5\n", "expected rank " + next);
  expect_error(good + std::string(4000, 'A') + " " + next + "\n", "1 to 256 bytes");
  EXPECT_EQ(load_error(good + "\n\r\n"), "no Error");
}

}  // namespace
}  // namespace sinkrouter
