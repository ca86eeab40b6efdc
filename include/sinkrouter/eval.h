#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sinkrouter/engine.h"
#include "sinkrouter/generate.h"

// Quality and speed of routing policies beside dense attention. Everything here starts from one
// dense prefill and decodes from forks of it, so policies differ in nothing but what they read.
namespace sinkrouter {

// What is being done, and the share of the whole done so far, 0 to 1. May throw to stop the work;
// the exception reaches the caller.
using Progress = std::function<void(std::string_view what, double done)>;

// The named files, or the licence texts every Debian machine has when `files` is empty. Throws
// Error when a file cannot be read or is not UTF-8.
std::vector<std::string> load_texts(std::span<const std::filesystem::path> files);

// The tokens of the texts one after another, the beginning-of-text token first: exactly `count`.
// Throws Error when there are fewer.
std::vector<int> first_tokens(const Tokenizer& tokenizer, std::span<const std::string> texts,
                              int count);

// What came of a prompt under one policy.
struct Answer {
  PolicyOptions policy;
  int prompt_tokens = 0;  // question included
  int question_tokens = 0;
  double prefill_seconds = 0;
  double tokens_per_second = 0;
  GenerateResult result{};
};

// Generates from a fork of a prefilled prompt whose last token's logits are `logits`. The
// question's tokens, when there are any, are first decoded under the policy, not prefilled.
GenerateResult ask(Engine& engine, const Sequence& prompt, std::span<const float> logits,
                   std::span<const int> question, const GenerateOptions& options,
                   const TextSink& on_text = {});

struct CompareOptions {
  GenerateOptions generate;  // generate.policy is compared with dense
  int runs = 1;              // in turn; texts come from the first, speeds are medians
  TextSink on_dense_text{};  // first run only
  TextSink on_routed_text{};
};

struct CompareResult {
  Answer dense;
  Answer routed;
  bool tokens_equal = false;

  double speedup() const {
    return dense.tokens_per_second > 0 ? routed.tokens_per_second / dense.tokens_per_second : 0;
  }
};

// The same prompt and question under dense attention and a policy.
CompareResult compare(Engine& engine, std::span<const int> prompt, std::span<const int> question,
                      const CompareOptions& options, const PrefillProgress& progress = {});

// Facts hidden in a text and asked for: exact match of greedy answers.
struct NeedleOptions {
  std::vector<PolicyOptions> policies;
  int context = 4096;  // tokens of a document with the longest of its questions and answers
  int samples = 200;   // questions in all
  int documents = 0;   // prefills that share them; 0: one per 20 questions, at least 10
  int decoded = 0;     // last tokens of a document, decoded under each policy and not prefilled
  std::string set = "standard";   // of wordings; see needle_sets()
  bool prefill_question = false;  // else question tokens are decoded through the policy
  int batch = 8;                  // questions decoded together
  std::uint64_t seed = 1;
};

std::vector<std::string> needle_sets();  // names that NeedleOptions::set may have, "all" included

struct Tally {
  std::string label;
  int asked = 0;
  int right = 0;
};

struct NeedleScore {
  PolicyOptions policy;
  int right = 0;
  int same_as_dense = 0;  // answers equal to dense attention's, right or wrong
  double seconds = 0;
  ReadStats reads{};
  std::vector<Tally> by_depth{};
  std::vector<Tally> by_wording{};
};

struct NeedleResult {
  std::string model;
  std::string device;
  int context = 0;
  int samples = 0;
  int documents = 0;
  int decoded = 0;
  std::string set;
  bool prefill_question = false;
  double prefill_seconds = 0;
  NeedleScore dense;
  std::vector<NeedleScore> policies{};  // in the order asked for
};

// KV tokens the engine needs room for, to pass as EngineOptions::capacity_tokens.
std::int64_t needle_capacity(const NeedleOptions& options, int page_size);
NeedleResult eval_needle(Engine& engine, std::span<const std::string> texts,
                         const NeedleOptions& options, const Progress& progress = {});

// A document such as eval_needle reads, with one of its questions; for demonstrations.
struct NeedleSample {
  std::vector<int> document;  // exactly `context` tokens
  std::string question;
  std::string answer;
};
NeedleSample needle_sample(const Tokenizer& tokenizer, std::span<const std::string> texts,
                           int context, std::uint64_t seed);
std::int64_t needle_sample_capacity(int context, int max_tokens, int page_size);

// Teacher-forced perplexity of the last tokens of windows of a text.
struct PerplexityOptions {
  std::vector<PolicyOptions> policies;
  int context = 4096;  // tokens a window has in the cache at its end
  int samples = 8;     // windows, evenly spread over the text
  int tokens = 256;    // scored at the end of each window, all decoded
};

struct PerplexityScore {
  PolicyOptions policy;
  double perplexity = 0;
  double seconds = 0;
  ReadStats reads{};
};

struct PerplexityResult {
  std::string model;
  std::string device;
  int context = 0;
  int samples = 0;
  int tokens = 0;
  double prefill_seconds = 0;
  PerplexityScore dense;
  std::vector<PerplexityScore> policies{};  // in the order asked for

  double delta_percent(const PerplexityScore& score) const {
    return 100.0 * (score.perplexity / dense.perplexity - 1.0);
  }
};

PerplexityResult eval_perplexity(Engine& engine, std::span<const std::string> texts,
                                 const PerplexityOptions& options, const Progress& progress = {});
std::int64_t perplexity_capacity(const PerplexityOptions& options, int page_size);

// One JSON object each.
std::string to_json(const Answer& answer);
std::string to_json(const CompareResult& result);
std::string to_json(const NeedleResult& result);
std::string to_json(const PerplexityResult& result);

}  // namespace sinkrouter
