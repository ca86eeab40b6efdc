#include "sinkrouter/engine.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <functional>
#include <numeric>
#include <random>
#include <stdexcept>
#include <string_view>
#include <tuple>
#include <vector>

#include "base/rng.h"
#include "sinkrouter/error.h"
#include "support/tiny_model.h"

namespace sinkrouter {
namespace {

using testing::TemporaryDirectory;
using testing::TinyModelShape;

constexpr PolicyOptions kDense{.kind = PolicyKind::kDense};

double relative_error(std::span<const float> got, std::span<const float> want) {
  EXPECT_EQ(got.size(), want.size());
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    difference += (double{got[i]} - want[i]) * (double{got[i]} - want[i]);
    norm += double{want[i]} * want[i];
  }
  return std::sqrt(difference / norm);
}

class EngineTest : public ::testing::Test {
 protected:
  EngineTest() : seed_(std::random_device{}()), rng_(seed_), trace_(__FILE__, __LINE__, seed_) {
    testing::write_tiny_model(directory_.path(), TinyModelShape{}, seed_);
  }

  EngineOptions options() const {
    EngineOptions options;
    options.model = directory_.path();
    options.threads = 2;
    options.kv_dtype = DType::kF32;
    options.max_sequences = 40;
    return options;
  }

  std::vector<int> random_tokens(int count) {
    std::vector<int> tokens(static_cast<std::size_t>(count));
    for (int& token : tokens) token = static_cast<int>(rng_.below(4096));
    return tokens;
  }

  static std::vector<float> decode_one(Engine& engine, Sequence& sequence, int token,
                                       const PolicyOptions& policy) {
    Sequence* one = &sequence;
    const auto logits = engine.decode({&one, 1}, {&token, 1}, policy);
    return {logits.begin(), logits.end()};
  }

  TemporaryDirectory directory_;
  std::uint64_t seed_;
  Rng rng_;
  ::testing::ScopedTrace trace_;
};

TEST_F(EngineTest, DecodingGivesTheLogitsOfPrefilling) {
  Engine engine(options());
  const std::vector<int> tokens = random_tokens(600);
  std::vector<float> all(tokens.size() * 4096);
  Sequence prefilled = engine.create_sequence();
  engine.prefill(prefilled, tokens, {}, [&](std::int64_t first, std::span<const float> logits) {
    std::copy(logits.begin(), logits.end(), all.begin() + first * 4096);
  });
  Sequence decoded = engine.create_sequence();
  engine.prefill(decoded, std::span(tokens).first(537));
  for (std::size_t i = 537; i < tokens.size(); ++i) {
    const auto logits = decode_one(engine, decoded, tokens[i], kDense);
    EXPECT_LT(relative_error(logits, std::span(all).subspan(i * 4096, 4096)), 1e-4) << i;
  }
  EXPECT_EQ(decoded.length(), 600);
}

TEST_F(EngineTest, EpsilonZeroIsDense) {
  Engine engine(options());
  Sequence dense = engine.create_sequence();
  engine.prefill(dense, random_tokens(777));
  Sequence margin = engine.fork(dense);
  const int token = random_tokens(1)[0];
  const auto want = decode_one(engine, dense, token, kDense);
  engine.reset_read_stats();
  const auto got = decode_one(engine, margin, token, {.kind = PolicyKind::kMargin, .epsilon = 0});
  EXPECT_LT(relative_error(got, want), 1e-5);
  EXPECT_EQ(engine.read_stats().attention_bytes, engine.read_stats().dense_bytes);
}

TEST_F(EngineTest, SmallEpsilonStaysNearDenseAndReadsLess) {
  Engine engine(options());
  Sequence dense = engine.create_sequence();
  engine.prefill(dense, random_tokens(2000));
  const int token = random_tokens(1)[0];
  for (PolicyKind kind : {PolicyKind::kMargin, PolicyKind::kOracle, PolicyKind::kRoute}) {
    Sequence first = engine.fork(dense);
    Sequence second = engine.fork(dense);
    const auto want = decode_one(engine, first, token, kDense);
    engine.reset_read_stats();
    const auto got = decode_one(engine, second, token, {.kind = kind, .epsilon = 0.02f});
    EXPECT_LT(relative_error(got, want), 0.15) << name(kind);
    EXPECT_LE(engine.read_stats().attention_bytes, engine.read_stats().dense_bytes);
  }
}

TEST_F(EngineTest, StreamingReadsTheKeptSetOnly) {
  Engine engine(options());
  Sequence sequence = engine.create_sequence();
  engine.prefill(sequence, random_tokens(1023));
  engine.reset_read_stats();
  decode_one(engine, sequence, 5, {.kind = PolicyKind::kStreaming, .window = 64, .granule = 32});
  const ReadStats& stats = engine.read_stats();
  EXPECT_EQ(stats.decisions, 2 * 2);
  EXPECT_EQ(stats.routed_decisions, stats.decisions);
  EXPECT_EQ(stats.dense_bytes, 2 * 2 * 1024 * 2 * 64 * 4);
  EXPECT_EQ(stats.attention_bytes, 2 * 2 * (32 + 64) * 2 * 64 * 4);
  EXPECT_EQ(stats.router_bytes, 0);
}

TEST_F(EngineTest, CosineWithTheLowestThresholdReadsTheSinkRowAlone) {
  Engine engine(options());
  Sequence sequence = engine.create_sequence();
  engine.prefill(sequence, random_tokens(300));
  engine.reset_read_stats();
  decode_one(engine, sequence, 5, {.kind = PolicyKind::kCosine, .tau = -1.0f});
  EXPECT_EQ(engine.read_stats().attention_bytes, 2 * 2 * 1 * 2 * 64 * 4);
  EXPECT_EQ(engine.read_stats().routed_fraction(), 1.0);
}

TEST_F(EngineTest, ForksDivergeAndLeaveTheSourceAlone) {
  Engine engine(options());
  Sequence source = engine.create_sequence();
  engine.prefill(source, random_tokens(100));
  Sequence untouched = engine.create_sequence();
  Sequence left = engine.fork(source);
  Sequence right = engine.fork(source);
  for (int token : random_tokens(40)) decode_one(engine, left, token, kDense);
  for (int token : random_tokens(40)) decode_one(engine, right, token, kDense);
  Sequence late = engine.fork(source);
  EXPECT_EQ(late.length(), 100);
  const auto from_source = decode_one(engine, source, 9, kDense);
  const auto from_late = decode_one(engine, late, 9, kDense);
  EXPECT_EQ(from_source, from_late);
}

TEST_F(EngineTest, ABatchGivesEachSequenceWhatItGetsAlone) {
  Engine engine(options());
  std::vector<Sequence> alone, together;
  std::vector<Sequence*> batch;
  std::vector<int> tokens;
  for (int i = 0; i < 16; ++i) {
    alone.push_back(engine.create_sequence());
    engine.prefill(alone.back(), random_tokens(1 + static_cast<int>(rng_.below(200))));
    together.push_back(engine.fork(alone.back()));
  }
  for (Sequence& sequence : together) batch.push_back(&sequence);
  // Audits are off: what they learn from one run would be known to the next.
  const PolicyOptions policies[] = {kDense,
                                    {.kind = PolicyKind::kStreaming},
                                    {.epsilon = 0.05f, .audit_share = 0},
                                    {.epsilon = 0.05f, .granule = 32, .audit_share = 0}};
  for (const PolicyOptions& policy : policies) {
    SCOPED_TRACE(name(policy.kind));
    tokens = random_tokens(16);
    const auto view = engine.decode(batch, tokens, policy);
    const std::vector<float> got(view.begin(), view.end());
    for (std::size_t i = 0; i < 16; ++i) {
      const auto want = decode_one(engine, alone[i], tokens[i], policy);
      EXPECT_LT(relative_error(std::span(got).subspan(i * 4096, 4096), want), 1e-4);
    }
  }
}

TEST_F(EngineTest, AFullPoolIsAnErrorThatChangesNothing) {
  EngineOptions small = options();
  small.capacity_tokens = 256;
  Engine engine(small);
  Sequence first = engine.create_sequence();
  engine.prefill(first, random_tokens(192));
  Sequence second = engine.create_sequence();
  try {
    engine.prefill(second, random_tokens(65));
    FAIL() << "expected an error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), Error::Kind::kOutOfCapacity);
  }
  EXPECT_EQ(second.length(), 0);
  engine.prefill(second, random_tokens(64));
  EXPECT_THROW(decode_one(engine, first, 1, kDense), Error);
  EXPECT_EQ(first.length(), 192);
  second = Sequence();
  decode_one(engine, first, 1, kDense);
  EXPECT_EQ(first.length(), 193);
}

TEST_F(EngineTest, AnExceptionFromACallbackLeavesTheSequenceAsItWas) {
  Engine engine(options());
  Sequence sequence = engine.create_sequence();
  engine.prefill(sequence, random_tokens(70));
  Sequence copy = engine.fork(sequence);
  const auto stop = [](std::int64_t done, std::int64_t) {
    if (done >= 512) throw std::runtime_error("stop");
  };
  EXPECT_THROW(engine.prefill(sequence, random_tokens(1500), stop), std::runtime_error);
  EXPECT_EQ(sequence.length(), 70);
  engine.set_attention_observer([](const AttentionObservation& seen) {
    if (seen.layer == 1) throw std::runtime_error("stop");
  });
  EXPECT_THROW(decode_one(engine, sequence, 3, kDense), std::runtime_error);
  engine.set_attention_observer({});
  EXPECT_EQ(sequence.length(), 70);
  EXPECT_EQ(decode_one(engine, sequence, 3, kDense), decode_one(engine, copy, 3, kDense));
}

TEST_F(EngineTest, ObservationsHoldTrueMasses) {
  Engine engine(options());
  Sequence sequence = engine.create_sequence();
  engine.prefill(sequence, random_tokens(200));
  int calls = 0;
  engine.set_attention_observer([&](const AttentionObservation& seen) {
    ++calls;
    ASSERT_EQ(seen.length, 201);
    for (int head = 0; head < 4; ++head) {
      double sum = 0;
      for (int row = 0; row < seen.length; ++row) {
        sum +=
            std::exp(double{seen.logits[static_cast<std::size_t>(head * seen.logit_stride + row)]} -
                     seen.lse[static_cast<std::size_t>(head)]);
      }
      EXPECT_NEAR(sum, 1.0, 1e-4);
    }
    EXPECT_EQ(seen.list_counts[0], 4);
  });
  decode_one(engine, sequence, 3, kDense);
  EXPECT_EQ(calls, 2);
}

TEST_F(EngineTest, ObservationsHoldWhatLogitsAndOutputsAreMadeOf) {
  Engine engine(options());
  Sequence sequence = engine.create_sequence();
  engine.prefill(sequence, random_tokens(150));
  constexpr int kDim = 64;
  constexpr int kRows = 151;
  std::vector<std::vector<float>> residuals;
  engine.set_attention_observer([&](const AttentionObservation& seen) {
    ASSERT_EQ(seen.queries.size(), 4u * kDim);
    ASSERT_EQ(seen.output.size(), 4u * kDim);
    ASSERT_EQ(seen.residual.size(), 64u);
    if (seen.layer == 0) residuals.emplace_back(seen.residual.begin(), seen.residual.end());
    std::vector<float> keys(kRows * kDim);
    std::vector<float> values(kRows * kDim);
    for (int head = 0; head < 4; ++head) {
      seen.rows->copy_keys(head / 2, keys);
      seen.rows->copy_values(head / 2, values);
      std::vector<double> output(kDim);
      for (int row = 0; row < kRows; ++row) {
        double logit = 0;
        for (int i = 0; i < kDim; ++i) {
          logit += double{seen.queries[head * kDim + i]} * keys[row * kDim + i] * seen.scale;
        }
        EXPECT_NEAR(logit, seen.logits[head * seen.logit_stride + row], 1e-3);
        const double mass = std::exp(logit - seen.lse[head]);
        for (int i = 0; i < kDim; ++i) output[i] += mass * values[row * kDim + i];
      }
      for (int i = 0; i < kDim; ++i) EXPECT_NEAR(output[i], seen.output[head * kDim + i], 1e-3);
    }
    EXPECT_THROW(seen.rows->copy_keys(2, keys), Error);
    EXPECT_THROW(seen.rows->copy_values(0, std::span(values).first(1)), Error);
  });
  Sequence copy = engine.fork(sequence);
  decode_one(engine, sequence, 3, kDense);
  decode_one(engine, copy, 3, kDense);
  copy = engine.create_sequence();
  engine.prefill(copy, random_tokens(150));
  decode_one(engine, copy, 4, kDense);
  // What the first layer adds to is the token's embedding.
  ASSERT_EQ(residuals.size(), 3u);
  EXPECT_EQ(residuals[0], residuals[1]);
  EXPECT_NE(residuals[0], residuals[2]);
}

// Random weights attend about evenly, so a short prompt's middle blocks have a tenth of the mass.
TEST_F(EngineTest, PinnedSinksAreInTheMiddleAndGoToForks) {
  Engine engine(options());
  Sequence sequence = engine.create_sequence();
  EXPECT_TRUE(engine.pinned_sinks(sequence).empty());
  engine.prefill(sequence, random_tokens(200));
  const std::vector<PinnedSink> sinks = engine.pinned_sinks(sequence);
  ASSERT_FALSE(sinks.empty());
  for (std::size_t i = 0; i < sinks.size(); ++i) {
    const PinnedSink& sink = sinks[i];
    EXPECT_EQ(sink.first_position, 32 * sink.block);
    EXPECT_GE(sink.block, 1);
    EXPECT_LE(sink.first_position + 32, 200);
    EXPECT_GE(sink.mass, 0.1f);
    EXPECT_LT(sink.mass, 1.0f);
    if (i == 0) continue;
    EXPECT_LT(std::tie(sinks[i - 1].layer, sinks[i - 1].kv_head, sinks[i - 1].block),
              std::tie(sink.layer, sink.kv_head, sink.block));
  }
  const Sequence copy = engine.fork(sequence);
  EXPECT_EQ(engine.pinned_sinks(copy).size(), sinks.size());
  Engine other(options());
  EXPECT_THROW(other.pinned_sinks(sequence), Error);
  EXPECT_THROW(engine.pinned_sinks(Sequence()), Error);
}

TEST_F(EngineTest, ACutCheckpointIsAnErrorThatChangesNothing) {
  const std::filesystem::path weights = directory_.path() / "model.safetensors";
  Engine engine(options());
  Sequence sequence = engine.create_sequence();
  engine.prefill(sequence, random_tokens(40));
  std::filesystem::resize_file(weights, 100);
  const std::vector<int> more = random_tokens(3);
  const std::function<void()> steps[] = {[&] { engine.prefill(sequence, more); },
                                         [&] { decode_one(engine, sequence, 7, kDense); }};
  for (const auto& step : steps) {
    try {
      step();
      ADD_FAILURE() << "no error";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), Error::Kind::kInvalidFile);
      EXPECT_NE(std::string_view(error.what()).find(weights.string() + " was cut to 100 bytes"),
                std::string_view::npos)
          << error.what();
    }
    EXPECT_EQ(sequence.length(), 40);
  }
}

TEST_F(EngineTest, ArgumentsOutOfRangeAreErrors) {
  Engine engine(options());
  Engine other(options());
  Sequence sequence = engine.create_sequence();
  Sequence empty;
  EXPECT_THROW(engine.prefill(sequence, {}), Error);
  EXPECT_THROW(engine.prefill(sequence, std::vector<int>{4096}), Error);
  EXPECT_THROW(engine.prefill(sequence, std::vector<int>{-1}), Error);
  EXPECT_THROW(engine.prefill(sequence, std::vector<int>(4097, 1)), Error);
  EXPECT_THROW(engine.prefill(empty, std::vector<int>{1}), Error);
  EXPECT_THROW(other.prefill(sequence, std::vector<int>{1}), Error);
  engine.prefill(sequence, std::vector<int>{1});
  EXPECT_THROW(decode_one(engine, sequence, 4096, kDense), Error);
  EXPECT_THROW(decode_one(engine, sequence, 1, {.epsilon = 1.5f}), Error);
  EXPECT_THROW(decode_one(engine, sequence, 1, {.epsilon = std::nanf("")}), Error);
  Sequence* twice[] = {&sequence, &sequence};
  EXPECT_THROW(engine.decode(twice, std::vector<int>{1, 2}, kDense), Error);
  EXPECT_THROW(engine.decode({}, {}, kDense), Error);
  EXPECT_EQ(sequence.length(), 1);
}

TEST_F(EngineTest, ASequenceMayOutliveItsEngine) {
  Sequence sequence;
  {
    Engine engine(options());
    sequence = engine.create_sequence();
    engine.prefill(sequence, random_tokens(10));
  }
  EXPECT_EQ(sequence.length(), 10);
}

}  // namespace
}  // namespace sinkrouter
