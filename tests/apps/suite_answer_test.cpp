#include <gtest/gtest.h>

#include "eval/suite/answer.h"
#include "eval/suite/exercise.h"

namespace sinkrouter {
namespace {

using Words = std::vector<std::string>;

TEST(SuiteAnswers, ListsAreTakenApart) {
  EXPECT_EQ(listed_items(" 5, 7 and 9"), (Words{"5", "7", "9"}));
  EXPECT_EQ(listed_items("5,7,  and 9 "), (Words{"5", "7", "9"}));
  EXPECT_EQ(listed_items(" silent river, sand and andes"),
            (Words{"silent river", "sand", "andes"}));
  EXPECT_EQ(listed_items(" one"), (Words{"one"}));
  EXPECT_EQ(listed_items(",, ,"), Words{});
  EXPECT_EQ(listed_items(""), Words{});
  EXPECT_EQ(words_of("  two\n words "), (Words{"two", "words"}));
  EXPECT_EQ(words_of(""), Words{});
}

TEST(SuiteAnswers, SharesCountWhatIsRight) {
  const Words wanted{"a", "b", "c"};
  EXPECT_DOUBLE_EQ(ordered_share(wanted, wanted), 1.0);
  EXPECT_DOUBLE_EQ(ordered_share(wanted, Words{"a", "c", "b"}), 1.0 / 3);
  EXPECT_DOUBLE_EQ(ordered_share(wanted, Words{"a"}), 1.0 / 3);
  EXPECT_DOUBLE_EQ(ordered_share(wanted, Words{"a", "b", "c", "d"}), 0.75);
  EXPECT_DOUBLE_EQ(ordered_share(wanted, Words{}), 0.0);
  EXPECT_DOUBLE_EQ(unordered_share(wanted, Words{"c", "a", "b"}), 1.0);
  EXPECT_DOUBLE_EQ(unordered_share(wanted, Words{"a", "a", "a"}), 1.0 / 3);
  EXPECT_DOUBLE_EQ(unordered_share(wanted, Words{"x", "c"}), 1.0 / 3);
  EXPECT_DOUBLE_EQ(unordered_share(wanted, Words{"x", "y", "z", "a", "b", "c"}), 0.5);
  EXPECT_DOUBLE_EQ(copied_share(wanted, Words{"a", "b", "c", "more"}), 1.0);
  EXPECT_DOUBLE_EQ(copied_share(wanted, Words{"a", "x", "c"}), 1.0 / 3);
  EXPECT_DOUBLE_EQ(copied_share(wanted, Words{}), 0.0);
}

double score(Measure measure, const Words& parts, const std::string& reply) {
  ExerciseQuestion question;
  question.parts = parts;
  question.measure = measure;
  return question.score({.text = reply, .tokens = {}});
}

TEST(SuiteAnswers, RepliesAreScoredUpToTheirEnd) {
  for (const char* right : {" 123.", "123", " 123\nmore", " 123. 456", "  123 "}) {
    EXPECT_DOUBLE_EQ(score(Measure::kWhole, {"123"}, right), 1.0) << right;
  }
  for (const char* wrong : {"", " 1234.", " 12.", " 123, 456.", " it is 123.", "\n123"}) {
    EXPECT_DOUBLE_EQ(score(Measure::kWhole, {"123"}, wrong), 0.0) << wrong;
  }
  EXPECT_DOUBLE_EQ(score(Measure::kOrdered, {"red", "blue"}, " red, blue. green"), 1.0);
  EXPECT_DOUBLE_EQ(score(Measure::kOrdered, {"red", "blue"}, " blue, red."), 0.0);
  EXPECT_DOUBLE_EQ(score(Measure::kUnordered, {"red", "blue"}, " blue and red."), 1.0);
  EXPECT_DOUBLE_EQ(score(Measure::kCopied, {"of", "the", "sea"}, " of the sea."), 1.0);
  EXPECT_DOUBLE_EQ(score(Measure::kCopied, {"of", "the", "sea"}, " of the\nsea"), 2.0 / 3);
  EXPECT_TRUE(is_complete_answer(" red."));
  EXPECT_TRUE(is_complete_answer(" red\n"));
  EXPECT_FALSE(is_complete_answer(" red, blue"));
}

}  // namespace
}  // namespace sinkrouter
