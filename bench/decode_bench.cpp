#include <algorithm>

#include "base/check.h"
#include "bench/memory_read.h"
#include "eval/clock.h"
#include "sinkrouter/bench.h"

namespace sinkrouter {
namespace {

constexpr double kPrefillShare = 0.8;  // of the time, for the progress

// Decodes the same tokens as the others, a few at a time.
class Side {
 public:
  Side(Engine& engine, const Sequence& prompt, std::span<const int> tokens,
       const PolicyOptions& policy)
      : engine_(engine), sequence_(engine.fork(prompt)), tokens_(tokens), policy_(policy) {
    // A fork of its own, so that first-time work falls on no measured step.
    Sequence warm = engine.fork(prompt);
    Sequence* const sequences[] = {&warm};
    for (int step = 0; step < kWarmSteps; ++step) {
      engine.decode(sequences, tokens.first(1), policy);
    }
  }

  void decode_until(std::size_t end) {
    Sequence* const sequences[] = {&sequence_};
    engine_.reset_read_stats();
    for (; at_ < end; ++at_) {
      const Clock clock;
      engine_.decode(sequences, tokens_.subspan(at_, 1), policy_);
      seconds_.push_back(clock.seconds());
    }
    reads_ = sum(reads_, engine_.read_stats());
  }

  double median_us() const { return 1e6 * median(seconds_); }
  const ReadStats& reads() const { return reads_; }

 private:
  static constexpr int kWarmSteps = 2;

  Engine& engine_;
  Sequence sequence_;
  std::span<const int> tokens_;
  PolicyOptions policy_;
  std::size_t at_ = 0;
  std::vector<double> seconds_;
  ReadStats reads_;
};

void check(const DecodeBenchOptions& options, std::size_t text_tokens) {
  SR_CHECK(options.context >= 1 && options.tokens >= 1, kInvalidArgument,
           "context is {} and tokens {}; both must be at least 1", options.context, options.tokens);
  SR_CHECK(options.rounds >= 1 && options.rounds <= options.tokens, kInvalidArgument,
           "rounds is {}; it must be between 1 and tokens, {}", options.rounds, options.tokens);
  const std::int64_t needed = std::int64_t{options.context} + options.tokens;
  SR_CHECK(static_cast<std::int64_t>(text_tokens) >= needed, kInvalidArgument,
           "the text holds {} tokens and {} are needed; pass a longer --text", text_tokens, needed);
}

}  // namespace

std::int64_t decode_bench_capacity(const DecodeBenchOptions& options, int page_size) {
  return std::int64_t{options.context} + 2 * (std::int64_t{options.tokens} + 3 * page_size);
}

DecodeBenchResult bench_decode(Engine& engine, std::span<const int> text,
                               const DecodeBenchOptions& options, const Progress& progress) {
  check(options, text.size());
  const auto report = [&](std::string_view what, double done) {
    if (progress) progress(what, done);
  };
  DecodeBenchResult result{.model = engine.info(),
                           .device = engine.description(),
                           .policy = options.policy,
                           .context = options.context,
                           .tokens = options.tokens};
  const Clock clock;
  Sequence prompt = engine.create_sequence();
  engine.prefill(prompt, text.first(static_cast<std::size_t>(options.context)),
                 [&](std::int64_t done, std::int64_t total) {
                   report("prefill",
                          kPrefillShare * static_cast<double>(done) / static_cast<double>(total));
                 });
  result.prefill_seconds = clock.seconds();

  const auto count = static_cast<std::size_t>(options.tokens);
  const std::span<const int> tokens =
      text.subspan(static_cast<std::size_t>(options.context), count);
  PolicyOptions dense_policy;
  dense_policy.kind = PolicyKind::kDense;
  Side dense(engine, prompt, tokens, dense_policy);
  Side routed(engine, prompt, tokens, options.policy);
  ThreadPool threads(engine.options().threads);
  const ModelInfo& model = engine.info();
  const std::int64_t kv_bytes =
      std::int64_t{2} * model.layers * model.kv_heads * model.head_dim *
      static_cast<std::int64_t>(size_in_bytes(engine.options().kv_dtype)) * options.context;
  MemoryRead memory(model.weight_bytes + kv_bytes, 1);
  std::vector<double> read_seconds;
  for (int round = 0; round < options.rounds; ++round) {
    const auto end =
        count * static_cast<std::size_t>(round + 1) / static_cast<std::size_t>(options.rounds);
    dense.decode_until(end);
    routed.decode_until(end);
    read_seconds.push_back(memory.pass(threads));
    report("decoding",
           kPrefillShare + (1 - kPrefillShare) * static_cast<double>(round + 1) / options.rounds);
  }

  result.reads = routed.reads();
  result.median_us = routed.median_us();
  result.dense_median_us = dense.median_us();
  const auto weights = static_cast<double>(model.weight_bytes);
  const auto bytes_per_step = [&](const ReadStats& reads) {
    return weights + static_cast<double>(reads.router_bytes + reads.attention_bytes) /
                         static_cast<double>(options.tokens);
  };
  const double dense_bytes = bytes_per_step(dense.reads());
  const double routed_bytes = bytes_per_step(routed.reads());
  result.achieved_gb_per_s = routed_bytes / result.median_us * 1e-3;
  result.dense_gb_per_s = dense_bytes / result.dense_median_us * 1e-3;
  result.read_ceiling_gb_per_s = static_cast<double>(memory.bytes()) / median(read_seconds) * 1e-9;
  result.ideal_speedup = dense_bytes / routed_bytes;
  return result;
}

}  // namespace sinkrouter
