// tokenizer.json as it should not be: each gets one clear Error.
#include <gtest/gtest.h>

#include <functional>

#include "sinkrouter/error.h"
#include "text/tokenizer_files.h"

namespace sinkrouter {
namespace {

using Json = nlohmann::json;
using test::byte_level_description;
using test::load_json;
using test::sentence_piece_description;
using test::TemporaryDirectory;

std::string error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << error.what();
    return error.what();
  }
  return "no Error";
}

struct BadCase {
  const char* name;
  std::function<void(Json&)> spoil;
  const char* expected;  // part of the message
};

void PrintTo(const BadCase& bad, std::ostream* out) { *out << bad.name; }

class BadTokenizerJsonTest : public testing::TestWithParam<BadCase> {};

TEST_P(BadTokenizerJsonTest, GetsOneClearError) {
  Json description = byte_level_description();
  GetParam().spoil(description);
  const std::string message = error_of([&] { load_json(description); });
  EXPECT_NE(message.find(GetParam().expected), std::string::npos) << message;
  EXPECT_NE(message.find("tokenizer.json"), std::string::npos) << message;
}

Json split(const char* pattern) {
  return {{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}};
}

Json added(int id, std::string_view content) {
  return {{"id", id}, {"content", content}, {"special", true}};
}

const BadCase kBadCases[] = {
    {"NoModel", [](Json& j) { j.erase("model"); }, "'model' is missing"},
    {"ModelIsAList", [](Json& j) { j["model"] = Json::array(); }, "model: found an array"},
    {"Unigram", [](Json& j) { j["model"]["type"] = "Unigram"; }, "'Unigram' is not supported"},
    {"NoVocab", [](Json& j) { j["model"].erase("vocab"); }, "model: 'vocab' is missing"},
    {"EmptyVocab",
     [](Json& j) {
       j["model"]["vocab"] = Json::object();
       j["model"]["merges"] = Json::array();
       j["added_tokens"] = Json::array();
     },
     "no pieces"},
    {"VocabIsAList", [](Json& j) { j["model"]["vocab"] = Json::array(); }, "expected an object"},
    {"NegativeId", [](Json& j) { j["model"]["vocab"]["the"] = -1; }, "the id of 'the' is '-1'"},
    {"HugeId", [](Json& j) { j["model"]["vocab"]["the"] = 1ull << 40; }, "the id of 'the'"},
    {"EnormousId", [](Json& j) { j["model"]["vocab"]["the"] = ~0ull; }, "the id of 'the'"},
    {"FractionalId", [](Json& j) { j["model"]["vocab"]["the"] = 1.5; }, "the id of 'the'"},
    {"TextId", [](Json& j) { j["model"]["vocab"]["the"] = "7"; }, "the id of 'the'"},
    {"SharedId", [](Json& j) { j["model"]["vocab"]["the"] = 7; }, "share id 7"},
    {"NoMerges", [](Json& j) { j["model"].erase("merges"); }, "'merges' is missing"},
    {"MergeOfMissingPiece", [](Json& j) { j["model"]["merges"][1] = "t hx"; },
     "entry 1 needs the piece 'hx'"},
    {"MergeIntoMissingPiece", [](Json& j) { j["model"]["merges"][1] = "t t"; },
     "needs the piece 'tt'"},
    {"MergeCycle",
     [](Json& j) {
       j["model"]["vocab"][""] = 400;
       j["model"]["merges"].push_back({"", "the"});
     },
     "has an empty piece"},
    {"MergeOfOne", [](Json& j) { j["model"]["merges"][2] = "the"; }, "entry 2 is '\"the\"'"},
    {"MergeOfThree",
     [](Json& j) {
       j["model"]["merges"][2] = {"t", "h", "e"};
     },
     "entry 2 is"},
    {"MergeOfNumbers",
     [](Json& j) {
       j["model"]["merges"][2] = {1, 2};
     },
     "expected two pieces"},
    {"UnkMissing", [](Json& j) { j["model"]["unk_token"] = "<unk>"; }, "'<unk>' is not in"},
    {"Dropout", [](Json& j) { j["model"]["dropout"] = 0.5; }, "dropout is not supported"},
    {"Suffix", [](Json& j) { j["model"]["end_of_word_suffix"] = "</w>"; }, "not supported"},
    {"ByteFallbackIsText", [](Json& j) { j["model"]["byte_fallback"] = "no"; },
     "model.byte_fallback: found 'no', expected true or false"},
    {"AddedTokensIsText", [](Json& j) { j["added_tokens"] = "x"; }, "expected an array"},
    {"AddedTokenWithoutId", [](Json& j) { j["added_tokens"][0].erase("id"); }, "'id' is missing"},
    {"AddedTokenNegative", [](Json& j) { j["added_tokens"][0]["id"] = -3; }, "found -3"},
    {"AddedTokenHuge", [](Json& j) { j["added_tokens"][0]["id"] = 1u << 31; }, "an integer from"},
    {"AddedTokenEmpty", [](Json& j) { j["added_tokens"][0]["content"] = ""; }, "has 0 bytes"},
    {"AddedTokenLong", [](Json& j) { j["added_tokens"][0]["content"] = std::string(600, 'x'); },
     "has 600 bytes"},
    {"AddedTokenOfOtherId", [](Json& j) { j["added_tokens"].push_back(added(302, "the")); },
     "has the ids"},
    {"AddedTokenTwice", [](Json& j) { j["added_tokens"].push_back(added(302, "<|bos|>")); },
     "has the ids 300 and 302"},
    {"AddedTokenOnUsedId", [](Json& j) { j["added_tokens"].push_back(added(65, "<|x|>")); },
     "share id 65"},
    {"Nfkc",
     [](Json& j) {
       j["normalizer"] = {{"type", "NFKC"}};
     },
     "normalizer 'NFKC' is not"},
    {"NormalizerWithoutType", [](Json& j) { j["normalizer"] = Json::object(); }, "'type'"},
    {"NormalizerPattern",
     [](Json& j) {
       j["normalizer"] = {{"type", "Replace"}, {"pattern", Json::object()}, {"content", ""}};
     },
     "found neither 'String' nor 'Regex'"},
    {"PreTokenizerType",
     [](Json& j) {
       j["pre_tokenizer"] = {{"type", "BertPreTokenizer"}};
     },
     "pre-tokenizer 'BertPreTokenizer' is not supported"},
    {"PreTokenizerNested",
     [](Json& j) {
       j["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", {{{"type", "Wat"}}}}};
     },
     "pre_tokenizer.pretokenizers[0].type: "},
    {"BrokenRegex", [](Json& j) { j["pre_tokenizer"] = split("(a"); },
     "'(a' is not a usable regular expression"},
    {"EmptyRegex", [](Json& j) { j["pre_tokenizer"] = split(""); }, "has 0 bytes"},
    {"Behavior",
     [](Json& j) {
       j["pre_tokenizer"] = split("a");
       j["pre_tokenizer"]["behavior"] = "Glued";
     },
     "'Glued' is unknown"},
    {"ManySteps",
     [](Json& j) {
       j["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", Json(100, split("a"))}};
     },
     "more than 64 steps"},
    {"DecoderType",
     [](Json& j) {
       j["decoder"] = {{"type", "WordPiece"}};
     },
     "decoder 'WordPiece' is not supported"},
    {"StripOfManyCharacters",
     [](Json& j) {
       j["decoder"] = {{"type", "Strip"}, {"content", "ab"}, {"start", 1}, {"stop", 0}};
     },
     "expected one character"},
    {"MetaspaceScheme",
     [](Json& j) {
       j["decoder"] = {{"type", "Metaspace"}, {"replacement", "_"}, {"prepend_scheme", "often"}};
     },
     "expected always, first or never"},
    {"PostProcessorType",
     [](Json& j) {
       j["post_processor"] = {{"type", "BertProcessing"}};
     },
     "post-processor 'BertProcessing' is not supported"},
    {"TemplateWithoutText", [](Json& j) { j["post_processor"]["single"].erase(1); },
     "expected a Sequence"},
    {"TemplateOfUnknownToken",
     [](Json& j) { j["post_processor"]["single"][0]["SpecialToken"]["id"] = "<x>"; },
     "'<x>' is missing"},
    {"TemplateIdOutOfRange",
     [](Json& j) { j["post_processor"]["special_tokens"]["<|bos|>"]["ids"] = {9999}; },
     "found 9999"},
};

INSTANTIATE_TEST_SUITE_P(, BadTokenizerJsonTest, testing::ValuesIn(kBadCases),
                         [](const auto& bad) { return bad.param.name; });

std::string error_of_text(std::string_view content) {
  const TemporaryDirectory directory;
  directory.write("tokenizer.json", content);
  return error_of([&] { Tokenizer::load(directory.path()); });
}

TEST(TokenizerJsonTest, RefusesWhatIsNoJsonObject) {
  EXPECT_NE(error_of_text("").find("not valid JSON"), std::string::npos);
  EXPECT_NE(error_of_text("{\"model\": ").find("not valid JSON at byte"), std::string::npos);
  EXPECT_NE(error_of_text("{\"a\": \"\xFF\"}").find("not valid JSON"), std::string::npos);
  EXPECT_NE(error_of_text("{\"a\": 1e999}").find("number is out of range"), std::string::npos);
  EXPECT_NE(error_of_text("{\"a\": {\"b\": 1, \"b\": 1}}").find("key 'b' is given twice"),
            std::string::npos);
  EXPECT_NE(error_of_text("[1]").find("expected an object"), std::string::npos);
  EXPECT_NE(error_of_text(std::string(1'000'000, '[')).find("nested deeper"), std::string::npos);
}

TEST(TokenizerJsonTest, TruncationsNeverLoadNorCrash) {
  const std::string whole = byte_level_description().dump();
  for (std::size_t size = 0; size < whole.size(); size += 37) {
    EXPECT_NE(error_of_text(whole.substr(0, size)), "no Error") << size;
  }
}

TEST(TokenizerJsonTest, StepsCannotBlowUpTheText) {
  const Json doubling = {{"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", "aa"}};
  Json description = sentence_piece_description();
  description["normalizer"] = {{"type", "Sequence"}, {"normalizers", Json(60, doubling)}};
  const auto tokenizer = load_json(description);
  EXPECT_NE(error_of([&] { tokenizer->encode("aaaa"); }).find("times as many"), std::string::npos);

  description = sentence_piece_description();
  description["decoder"] = {{"type", "Sequence"}, {"decoders", Json(60, doubling)}};
  EXPECT_NE(error_of([&] { load_json(description); }).find("times as many"), std::string::npos);
}

TEST(TokenizerJsonTest, HostilePatternsEndInAnError) {
  Json description = byte_level_description();
  description["pre_tokenizer"] = {
      {"type", "Sequence"}, {"pretokenizers", {split("(a+)+[bc]"), description["pre_tokenizer"]}}};
  const auto tokenizer = load_json(description);
  const std::string message = error_of([&] { tokenizer->encode(std::string(300, 'a')); });
  EXPECT_NE(message.find("pretokenizers[0].pattern.Regex"), std::string::npos) << message;
}

TEST(TokenizerJsonTest, AcceptsWhatIsOddButUsual) {
  Json description = byte_level_description();
  description["added_tokens"].push_back(description["added_tokens"][1]);  // as Yi has it
  description["model"]["merges"][0] = {"h", "e"};
  description["model"]["dropout"] = nullptr;
  description["model"]["continuing_subword_prefix"] = "";
  description["model"].erase("type");
  EXPECT_EQ(load_json(description)->encode("the"),
            load_json(byte_level_description())->encode("the"));
}

}  // namespace
}  // namespace sinkrouter
