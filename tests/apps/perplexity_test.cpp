#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "base/rng.h"
#include "eval/tokens.h"
#include "sinkrouter/error.h"
#include "sinkrouter/eval.h"
#include "support/tiny_model.h"

namespace sinkrouter {
namespace {

class Perplexity : public ::testing::Test {
 protected:
  Perplexity() : seed_(std::random_device{}()), trace_(__FILE__, __LINE__, seed_) {
    testing::write_tiny_model(directory_.path(), {}, seed_);
    Rng rng(seed_);
    std::string text;
    for (int i = 0; i < 2000; ++i) text += "word" + std::to_string(rng.below(90)) + " ";
    texts_.push_back(text);
  }

  EngineOptions engine_options() const {
    EngineOptions options;
    options.model = directory_.path();
    options.threads = 1;
    options.kv_dtype = DType::kF32;
    return options;
  }

  testing::TemporaryDirectory directory_;
  std::uint64_t seed_;
  ::testing::ScopedTrace trace_;
  std::vector<std::string> texts_;
};

TEST_F(Perplexity, IsThatOfPrefillingTheSameWindow) {
  Engine engine(engine_options());
  constexpr int kContext = 150;
  constexpr int kTokens = 30;
  const PerplexityResult result = eval_perplexity(
      engine, texts_, {.policies = {}, .context = kContext, .samples = 1, .tokens = kTokens});

  const std::vector<int> window = first_tokens(engine.tokenizer(), texts_, kContext + 1);
  Sequence sequence = engine.create_sequence();
  double surprise = 0;
  engine.prefill(sequence, std::span(window).first(kContext), {},
                 [&](std::int64_t first, std::span<const float> logits) {
                   const std::size_t vocab = static_cast<std::size_t>(engine.info().vocab_size);
                   for (std::size_t i = 0; i * vocab < logits.size(); ++i) {
                     const std::size_t at = static_cast<std::size_t>(first) + i;
                     if (at < kContext - kTokens) continue;
                     double total = 0;
                     for (std::size_t v = 0; v < vocab; ++v)
                       total += std::exp(logits[i * vocab + v]);
                     surprise += std::log(total) - logits[i * vocab + window[at + 1]];
                   }
                 });
  EXPECT_NEAR(result.dense.perplexity / std::exp(surprise / kTokens), 1.0, 1e-4);
  EXPECT_EQ(result.dense.reads.tokens, kTokens);
}

TEST_F(Perplexity, ProgressReachesTheEndAndMayStopTheWork) {
  Engine engine(engine_options());
  double last = -1;
  eval_perplexity(engine, texts_, {.policies = {}, .context = 100, .samples = 2, .tokens = 5},
                  [&](std::string_view, double done) {
                    EXPECT_GE(done, last);
                    last = done;
                  });
  EXPECT_GT(last, 0.5);
  EXPECT_LE(last, 1.0);
  struct Stop {};
  EXPECT_THROW(
      eval_perplexity(engine, texts_, {.policies = {}, .context = 100, .samples = 2, .tokens = 5},
                      [](std::string_view, double) { throw Stop{}; }),
      Stop);
}

TEST_F(Perplexity, NeedsEnoughText) {
  Engine engine(engine_options());
  EXPECT_THROW(eval_perplexity(engine, std::vector<std::string>{"short"},
                               {.policies = {}, .context = 100, .samples = 2, .tokens = 5}),
               Error);
  EXPECT_THROW(first_tokens(engine.tokenizer(), texts_, 1 << 20), Error);
}

TEST_F(Perplexity, CompareAndAskTellTheSameTokens) {
  Engine engine(engine_options());
  const std::vector<int> tokens = first_tokens(engine.tokenizer(), texts_, 200);
  const std::span<const int> prompt = std::span(tokens).first(180);
  const std::span<const int> question = std::span(tokens).subspan(180);
  CompareOptions options;
  options.generate.max_tokens = 6;
  options.generate.stop_at_eos = false;
  options.generate.policy.epsilon = 0;
  std::string streamed;
  options.on_routed_text = [&](std::string_view text) {
    streamed += text;
    return true;
  };
  const CompareResult result = compare(engine, prompt, question, options);
  EXPECT_TRUE(result.tokens_equal);
  EXPECT_EQ(result.routed.result.text, streamed);
  EXPECT_EQ(result.dense.prompt_tokens, 200);
  // The question's 20 steps and the 5 after the first token.
  EXPECT_EQ(result.dense.result.reads.tokens, 25);
}

}  // namespace
}  // namespace sinkrouter
