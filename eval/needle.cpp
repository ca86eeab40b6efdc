#include <algorithm>

#include "base/check.h"
#include "eval/clock.h"
#include "eval/needle_document.h"
#include "eval/needle_wordings.h"
#include "eval/reply.h"
#include "eval/tokens.h"
#include "sinkrouter/eval.h"

namespace sinkrouter {
namespace {

constexpr int kDepthBuckets = 10;
constexpr int kQuestionsPerDocument = 20;
constexpr int kFewestDocuments = 10;
constexpr int kSpareAnswerTokens = 2;  // beyond the right answer's own
constexpr int kLongestQuestion = 256;  // tokens, for the capacity estimate
constexpr double kPrefillShare = 0.7;  // of a document's time, for the progress

struct Question {
  Fact fact;
  double depth = 0;
  std::vector<int> tokens;
  int answer_limit = 0;
};

std::vector<Reply> reply_to(Engine& engine, const Wordings& wordings, const Sequence& document,
                            std::span<const Question> questions, const PolicyOptions& policy,
                            const NeedleOptions& options) {
  const auto open = [&](std::size_t index) {
    const Question& question = questions[index];
    Opening opening{.sequence = engine.fork(document),
                    .question = question.tokens,
                    .answer_limit = question.answer_limit};
    if (options.prefill_question) {
      opening.first = arg_max(engine.prefill(opening.sequence, question.tokens));
      opening.question = {};
    }
    return opening;
  };
  return reply_to(
      engine, questions.size(), open,
      {.policy = policy, .batch = options.batch, .is_complete = [&](std::string_view answer) {
         return wordings.is_complete(answer);
       }});
}

void tally(std::vector<Tally>& tallies, const std::string& label, bool right) {
  auto found = std::find_if(tallies.begin(), tallies.end(),
                            [&](const Tally& entry) { return entry.label == label; });
  if (found == tallies.end()) found = tallies.insert(tallies.end(), {.label = label});
  ++found->asked;
  found->right += right ? 1 : 0;
}

void sort_by_label(std::vector<Tally>& tallies) {
  std::sort(tallies.begin(), tallies.end(),
            [](const Tally& a, const Tally& b) { return a.label < b.label; });
}

std::string depth_label(int bucket) {
  constexpr int kWidth = 100 / kDepthBuckets;
  return fmt::format("{}-{}%", bucket * kWidth, (bucket + 1) * kWidth);
}

NeedleScore empty_score(const PolicyOptions& policy) {
  NeedleScore score{.policy = policy};
  for (int bucket = 0; bucket < kDepthBuckets; ++bucket) {
    score.by_depth.push_back({.label = depth_label(bucket)});
  }
  return score;
}

void record(NeedleScore& score, const Wordings& wordings, std::span<const Question> questions,
            std::span<const Reply> answers, std::span<const Reply> dense) {
  for (std::size_t i = 0; i < questions.size(); ++i) {
    const Question& question = questions[i];
    const bool right = wordings.is_right(question.fact, answers[i].text);
    score.right += right ? 1 : 0;
    score.same_as_dense += answers[i].tokens == dense[i].tokens ? 1 : 0;
    const int bucket =
        std::min(static_cast<int>(question.depth * kDepthBuckets), kDepthBuckets - 1);
    tally(score.by_depth, depth_label(bucket), right);
    tally(score.by_wording, question.fact.wording->id, right);
  }
}

// Reads the rest of a document under a policy, then asks.
std::vector<Reply> reply_and_count(Engine& engine, const Wordings& wordings,
                                   const Sequence& prefilled, std::span<const int> rest,
                                   std::span<const Question> questions,
                                   const NeedleOptions& options, NeedleScore& score) {
  engine.reset_read_stats();
  const Clock clock;
  Sequence document = engine.fork(prefilled);
  Sequence* const reading[] = {&document};
  for (std::size_t at = 0; at < rest.size(); ++at) {
    engine.decode(reading, rest.subspan(at, 1), score.policy);
  }
  std::vector<Reply> answers =
      reply_to(engine, wordings, document, questions, score.policy, options);
  score.seconds += clock.seconds();
  score.reads = sum(score.reads, engine.read_stats());
  return answers;
}

void check(const NeedleOptions& options) {
  SR_CHECK(options.samples >= 1, kInvalidArgument, "samples is {}; it must be at least 1",
           options.samples);
  SR_CHECK(options.documents >= 0 && options.documents <= options.samples, kInvalidArgument,
           "documents is {}; it must be between 1 and the number of samples, {}", options.documents,
           options.samples);
  SR_CHECK(options.batch >= 1, kInvalidArgument, "batch is {}; it must be at least 1",
           options.batch);
  SR_CHECK(options.context >= 64, kInvalidArgument, "context is {}; it must be at least 64",
           options.context);
  SR_CHECK(options.decoded >= 0 && options.decoded < options.context, kInvalidArgument,
           "decoded is {}; it must be between 0 and context - 1 = {}", options.decoded,
           options.context - 1);
}

int document_count(const NeedleOptions& options) {
  if (options.documents > 0) return options.documents;
  const int by_questions = (options.samples + kQuestionsPerDocument - 1) / kQuestionsPerDocument;
  return std::min(options.samples, std::max(kFewestDocuments, by_questions));
}

std::vector<Question> prepare_questions(const Tokenizer& tokenizer, const Wordings& wordings,
                                        std::span<const Fact> facts) {
  std::vector<Question> questions;
  for (const Fact& fact : facts) {
    const std::vector<int> answer = plain_tokens(tokenizer, wordings.answer(fact));
    questions.push_back({.fact = fact,
                         .tokens = plain_tokens(tokenizer, wordings.question(fact)),
                         .answer_limit = static_cast<int>(answer.size()) + kSpareAnswerTokens});
  }
  return questions;
}

int longest_exchange(std::span<const Question> questions) {
  int longest = 0;
  for (const Question& question : questions) {
    longest = std::max(longest, static_cast<int>(question.tokens.size()) + question.answer_limit);
  }
  return longest;
}

}  // namespace

std::vector<std::string> needle_sets() { return standard_wordings().set_names(); }

std::int64_t needle_capacity(const NeedleOptions& options, int page_size) {
  return std::int64_t{options.context} + options.decoded + 2 * page_size +
         std::int64_t{options.batch} * (kLongestQuestion + 2 * page_size);
}

NeedleResult eval_needle(Engine& engine, std::span<const std::string> texts,
                         const NeedleOptions& options, const Progress& progress) {
  check(options);
  const Wordings wordings = standard_wordings();
  const std::vector<const Wording*> choices = wordings.in_set(options.set);
  Rng rng(options.seed);
  NeedleResult result{.model = engine.info().name,
                      .device = engine.description(),
                      .context = options.context,
                      .samples = options.samples,
                      .documents = document_count(options),
                      .decoded = options.decoded,
                      .set = options.set,
                      .prefill_question = options.prefill_question,
                      .dense = empty_score({.kind = PolicyKind::kDense})};
  for (const PolicyOptions& policy : options.policies) {
    result.policies.push_back(empty_score(policy));
  }
  int asked = 0;
  for (int index = 0; index < result.documents; ++index) {
    // Spreads the questions over the documents as evenly as they go.
    const int count = (options.samples - asked) / (result.documents - index);
    const std::vector<Fact> facts = wordings.draw(choices, count, rng);
    SR_CHECK(static_cast<int>(facts.size()) == count, kInvalidArgument,
             "the wordings '{}' have no {} different questions for one document; "
             "ask for more documents",
             options.set, count);
    asked += count;
    std::vector<Question> questions = prepare_questions(engine.tokenizer(), wordings, facts);
    const int room = longest_exchange(questions);
    SR_CHECK(room + options.decoded < options.context, kInvalidArgument,
             "context is {}; a question and its answer alone need {} tokens, and {} are decoded",
             options.context, room, options.decoded);
    const NeedleDocument document = make_needle_document(engine.tokenizer(), texts, wordings, facts,
                                                         options.context - room, rng);
    for (int i = 0; i < count; ++i) questions[i].depth = document.depths[i];

    const std::string label = fmt::format("document {} of {}", index + 1, result.documents);
    const auto report = [&](double share) {
      if (progress) progress(label, (index + share) / result.documents);
    };
    report(0);
    Sequence sequence = engine.create_sequence();
    const Clock clock;
    const std::span<const int> tokens = document.tokens;
    const std::size_t prefilled = tokens.size() - static_cast<std::size_t>(options.decoded);
    engine.prefill(sequence, tokens.first(prefilled), [&](std::int64_t done, std::int64_t total) {
      report(kPrefillShare * static_cast<double>(done) / static_cast<double>(total));
    });
    result.prefill_seconds += clock.seconds();

    const double share = (1 - kPrefillShare) / static_cast<double>(1 + result.policies.size());
    const std::vector<Reply> dense = reply_and_count(
        engine, wordings, sequence, tokens.subspan(prefilled), questions, options, result.dense);
    record(result.dense, wordings, questions, dense, dense);
    report(kPrefillShare + share);
    for (std::size_t i = 0; i < result.policies.size(); ++i) {
      NeedleScore& score = result.policies[i];
      const std::vector<Reply> answers = reply_and_count(
          engine, wordings, sequence, tokens.subspan(prefilled), questions, options, score);
      record(score, wordings, questions, answers, dense);
      report(kPrefillShare + share * static_cast<double>(i + 2));
    }
  }
  sort_by_label(result.dense.by_wording);
  for (NeedleScore& score : result.policies) sort_by_label(score.by_wording);
  return result;
}

std::int64_t needle_sample_capacity(int context, int max_tokens, int page_size) {
  return std::int64_t{context} + kLongestQuestion + max_tokens + 4 * page_size;
}

NeedleSample needle_sample(const Tokenizer& tokenizer, std::span<const std::string> texts,
                           int context, std::uint64_t seed) {
  constexpr int kFacts = 5;
  const Wordings wordings = standard_wordings();
  Rng rng(seed);
  const std::vector<Fact> facts = wordings.draw(wordings.in_set("standard"), kFacts, rng);
  const NeedleDocument document =
      make_needle_document(tokenizer, texts, wordings, facts, context, rng);
  const Fact& asked = facts[rng.below(facts.size())];
  return {.document = document.tokens, .question = wordings.question(asked), .answer = asked.value};
}

}  // namespace sinkrouter
