#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>

#include "eval/needle_document.h"
#include "eval/needle_wordings.h"
#include "eval/tokens.h"
#include "sinkrouter/error.h"
#include "sinkrouter/eval.h"
#include "support/tiny_model.h"

namespace sinkrouter {
namespace {

class NeedleDocuments : public ::testing::Test {
 protected:
  NeedleDocuments()
      : seed_(std::random_device{}()),
        trace_(__FILE__, __LINE__, ::testing::Message() << "seed " << seed_),
        rng_(seed_) {
    testing::write_tiny_model(directory_.path(), {}, seed_);
    tokenizer_ = Tokenizer::load(directory_.path());
    for (int text = 0; text < 3; ++text) {
      std::string lines;
      for (int line = 0; line < 700; ++line) {
        lines += line % 9 == 0 ? "\n" : "";
        for (std::uint64_t word = 3 + rng_.below(4); word > 0; --word) {
          lines += "wort\u00e4" + std::to_string(rng_.below(5000)) + " ";
        }
        lines += "\n";
      }
      texts_.push_back(lines);
    }
  }

  testing::TemporaryDirectory directory_;
  std::uint64_t seed_;
  ::testing::ScopedTrace trace_;
  Rng rng_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::vector<std::string> texts_;
  Wordings wordings_ = standard_wordings();
};

TEST_F(NeedleDocuments, HaveExactlyTheTokensAskedFor) {
  for (int round = 0; round < 12; ++round) {
    const int length = 700 + static_cast<int>(rng_.below(4000));
    const int count = 1 + static_cast<int>(rng_.below(static_cast<std::uint64_t>(length) / 150));
    SCOPED_TRACE(::testing::Message() << count << " facts in " << length << " tokens");
    const std::vector<Fact> facts = wordings_.draw(wordings_.in_set("all"), count, rng_);
    const NeedleDocument document =
        make_needle_document(*tokenizer_, texts_, wordings_, facts, length, rng_);
    EXPECT_EQ(static_cast<int>(document.tokens.size()), length);
    EXPECT_EQ(document.tokens.front(), tokenizer_->bos_id());
    ASSERT_EQ(document.depths.size(), facts.size());
    EXPECT_TRUE(std::is_sorted(document.depths.begin(), document.depths.end()));
    const std::string text = tokenizer_->decode(document.tokens);
    for (std::size_t i = 0; i < facts.size(); ++i) {
      const std::size_t at = text.find(wordings_.fact(facts[i]));
      ASSERT_NE(at, std::string::npos) << wordings_.fact(facts[i]);
      // The next free spot may be a long line away.
      EXPECT_NEAR(document.depths[i], (i + 0.5) / count, 0.2);
      EXPECT_NEAR(document.depths[i], static_cast<double>(at) / text.size(), 0.2);
    }
  }
}

TEST_F(NeedleDocuments, NeedEnoughText) {
  const std::vector<Fact> facts = wordings_.draw(wordings_.in_set("standard"), 3, rng_);
  const std::vector<std::string> little{"a line\nanother line\nand a third\n"};
  EXPECT_THROW(make_needle_document(*tokenizer_, little, wordings_, facts, 2000, rng_), Error);
}

TEST_F(NeedleDocuments, StateOneFactAboutAKey) {
  const std::vector<Fact> facts = wordings_.draw(wordings_.in_set("all"), 300, rng_);
  EXPECT_EQ(facts.size(), 300u);
  std::set<std::string> keys;
  for (const Fact& fact : facts) {
    EXPECT_TRUE(keys.insert(fact.key).second) << fact.key;
    EXPECT_NE(wordings_.fact_sentence(fact).find(fact.value), std::string::npos);
    EXPECT_NE(wordings_.fact_line(fact).find(fact.key), std::string::npos);
    EXPECT_NE(wordings_.question(fact).find(fact.key), std::string::npos);
    EXPECT_EQ(wordings_.question(fact).find('{'), std::string::npos);
  }
}

TEST_F(NeedleDocuments, SamplesAreReproducible) {
  const NeedleSample one = needle_sample(*tokenizer_, texts_, 900, seed_);
  const NeedleSample again = needle_sample(*tokenizer_, texts_, 900, seed_);
  EXPECT_EQ(one.document, again.document);
  EXPECT_EQ(one.question, again.question);
  EXPECT_NE(tokenizer_->decode(one.document).find(one.answer), std::string::npos);
  EXPECT_NE(one.document, needle_sample(*tokenizer_, texts_, 900, seed_ + 1).document);
}

TEST(NeedleAnswers, AreRightOnlyWhenTheValueStandsAlone) {
  const Wordings wordings = standard_wordings();
  const Fact fact{.wording = wordings.in_set("standard").front(), .key = "x", .value = "12345"};
  for (const char* right :
       {" 12345.", "12345.", " 12345", "  12345\n", " 12345\r\nmore", "12345. 6"}) {
    EXPECT_TRUE(wordings.is_right(fact, right)) << right;
  }
  for (const char* wrong :
       {"", " ", ".", " 123456.", " 1234.", "\n12345", " 12345 or so.", " it is 12345."}) {
    EXPECT_FALSE(wordings.is_right(fact, wrong)) << wrong;
  }
}

TEST(NeedleWordings, AreCheckedWhenRead) {
  EXPECT_THROW(Wordings("{"), Error);
  EXPECT_THROW(Wordings("{}"), Error);
  EXPECT_THROW(Wordings(R"({"version": 2})"), Error);
  EXPECT_THROW(Wordings(R"({"version": 1, "line_fact_prefix": 3})"), Error);
  EXPECT_THROW(standard_wordings().in_set("rude"), Error);
}

}  // namespace
}  // namespace sinkrouter
