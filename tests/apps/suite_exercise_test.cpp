#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>

#include "apps/suite_texts.h"
#include "eval/suite/exercise.h"
#include "eval/tokens.h"
#include "sinkrouter/error.h"
#include "support/tiny_model.h"

namespace sinkrouter {
namespace {

class SuiteExercises : public ::testing::TestWithParam<SuiteTask> {
 protected:
  SuiteExercises()
      : seed_(std::random_device{}()),
        trace_(__FILE__, __LINE__, ::testing::Message() << "seed " << seed_),
        texts_(testing::made_up_texts(seed_, 3, 4000)) {
    testing::write_tiny_model(directory_.path(), {}, seed_);
    tokenizer_ = Tokenizer::load(directory_.path());
  }

  Exercise made(int context, int questions, std::uint64_t seed) const {
    Rng rng(seed);
    return make_exercise(*tokenizer_, texts_, GetParam(), context, questions, rng);
  }

  // What a question is about, as the model sees it.
  std::string material(const Exercise& exercise, const ExerciseQuestion& question) const {
    std::vector<int> tokens = exercise.document;
    tokens.insert(tokens.end(), question.tail.begin(), question.tail.end());
    return tokenizer_->decode(tokens);
  }

  testing::TemporaryDirectory directory_;
  std::uint64_t seed_;
  ::testing::ScopedTrace trace_;
  std::vector<std::string> texts_;
  std::unique_ptr<Tokenizer> tokenizer_;
};

TEST_P(SuiteExercises, FillTheContextExactlyAndHoldTheAnswers) {
  Rng rng(seed_);
  for (int round = 0; round < 4; ++round) {
    const int context = 3000 + static_cast<int>(rng.below(6000));
    const int count = 1 + static_cast<int>(rng.below(12));
    SCOPED_TRACE(::testing::Message() << count << " questions in " << context << " tokens");
    const Exercise exercise = made(context, count, rng.next());
    ASSERT_EQ(static_cast<int>(exercise.questions.size()), count);
    EXPECT_EQ(exercise.document.front(), tokenizer_->bos_id());
    int longest = 0;
    for (const ExerciseQuestion& question : exercise.questions) {
      longest = std::max(longest, question.length());
      const std::string text = material(exercise, question);
      EXPECT_FALSE(question.parts.empty());
      EXPECT_FALSE(question.tokens.empty());
      for (const std::string& part : question.parts) {
        EXPECT_NE(text.find(part), std::string::npos) << part;
      }
    }
    EXPECT_EQ(static_cast<int>(exercise.document.size()) + longest, context);
    EXPECT_LE(longest, longest_question(GetParam()));
  }
}

TEST_P(SuiteExercises, AreTheSameForASeed) {
  const Exercise one = made(4096, 6, seed_);
  const Exercise again = made(4096, 6, seed_);
  const Exercise other = made(4096, 6, seed_ + 1);
  EXPECT_EQ(one.document, again.document);
  EXPECT_NE(one.document, other.document);
  for (std::size_t i = 0; i < one.questions.size(); ++i) {
    EXPECT_EQ(one.questions[i].tail, again.questions[i].tail);
    EXPECT_EQ(one.questions[i].tokens, again.questions[i].tokens);
    EXPECT_EQ(one.questions[i].parts, again.questions[i].parts);
  }
}

TEST_P(SuiteExercises, TakeAPerfectReplyForRight) {
  for (const ExerciseQuestion& question : made(4096, 8, seed_).questions) {
    std::string reply;
    const bool copied = question.measure == Measure::kCopied;
    for (const std::string& part : question.parts) {
      reply += (reply.empty() || copied ? " " : ", ") + part;
    }
    EXPECT_DOUBLE_EQ(question.score({.text = reply + ".", .tokens = {}}), 1.0) << reply;
    EXPECT_DOUBLE_EQ(question.score({.text = " nothing.", .tokens = {}}), 0.0);
    EXPECT_LE(static_cast<int>(plain_tokens(*tokenizer_, reply + ".").size()),
              question.answer_limit);
  }
}

TEST_P(SuiteExercises, NeedEnoughText) {
  Rng rng(seed_);
  const std::vector<std::string> little{"a line\nanother line\nand a third\n"};
  EXPECT_THROW(make_exercise(*tokenizer_, little, GetParam(), 4096, 3, rng), Error);
}

std::vector<SuiteTask> tasks_with_questions() {
  std::vector<SuiteTask> tasks;
  for (SuiteTask task : suite_tasks()) {
    if (!is_perplexity(task)) tasks.push_back(task);
  }
  return tasks;
}

INSTANTIATE_TEST_SUITE_P(Tasks, SuiteExercises, ::testing::ValuesIn(tasks_with_questions()),
                         [](const auto& test) { return std::string(name(test.param)); });

TEST(SuiteWordLists, AskForTheMostFrequentWords) {
  const testing::TemporaryDirectory directory;
  const std::uint64_t seed = std::random_device{}();
  SCOPED_TRACE(seed);
  testing::write_tiny_model(directory.path(), {}, seed);
  const auto tokenizer = Tokenizer::load(directory.path());
  Rng rng(seed);
  const Exercise exercise = make_exercise(*tokenizer, testing::made_up_texts(seed, 2, 3000),
                                          SuiteTask::kWords, 3000, 5, rng);
  for (const ExerciseQuestion& question : exercise.questions) {
    std::string list = tokenizer->decode(question.tail);
    ASSERT_TRUE(list.starts_with("\nWords: ")) << list.substr(0, 20);
    std::map<std::string, int> counts;
    list = list.substr(list.find(':') + 1);
    list.erase(list.find('.'));
    for (std::size_t at = 0; at < list.size();) {
      const std::size_t end = std::min(list.find(',', at), list.size());
      ++counts[list.substr(at + 1, end - at - 1)];
      at = end + 1;
    }
    for (const auto& [word, count] : counts) {
      const bool asked =
          std::find(question.parts.begin(), question.parts.end(), word) != question.parts.end();
      EXPECT_EQ(asked, count > 2) << word << " comes " << count << " times";
    }
  }
}

}  // namespace
}  // namespace sinkrouter
