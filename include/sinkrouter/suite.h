#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sinkrouter/engine.h"
#include "sinkrouter/eval.h"

// Quality over bytes read: several tasks at several context lengths under several policies, from
// shared dense prefills, into a directory that a later run goes on with.
namespace sinkrouter {

enum class SuiteTask {
  kNeedle,         // a fact among others of different wordings
  kMultiKey,       // a fact among many of the same wording
  kMultiValue,     // every value that facts of one wording give to one key
  kMultiQuery,     // the values of several keys, in the order asked for
  kVariables,      // every variable that a chain of assignments gives a value to
  kWords,          // the most frequent words of a list
  kCopy,           // a passage that began again at the end
  kPerplexity,     // prose
  kPerplexityCode  // program code
};

std::string_view name(SuiteTask task);              // "needle", "multikey", "perplexity-code", ...
SuiteTask parse_suite_task(std::string_view text);  // throws Error listing the known names
std::span<const SuiteTask> suite_tasks();           // all, in the order of the enumeration
bool is_perplexity(SuiteTask task);                 // scored in perplexity: lower is better

// How a question's tokens get into the cache. Answers are always decoded under the policy.
enum class SuiteMode {
  kDecode,  // through the policy, like the answer; perplexity's only mode
  kPrefill  // densely, with the document
};

std::string_view name(SuiteMode mode);              // "decode", "prefill"
SuiteMode parse_suite_mode(std::string_view text);  // throws Error listing the known names

// A policy as it is run and as results name it: NAME or NAME:SETTING=VALUE..., the same text for
// the same options always.
struct SuitePolicy {
  std::string text;
  PolicyOptions options;
};

struct SuiteOptions {
  std::vector<SuiteTask> tasks;
  std::vector<int> contexts;  // tokens in the cache at the end of the longest question and answer
  std::vector<SuitePolicy> policies;  // beside dense, which is always run
  std::vector<SuiteMode> modes{SuiteMode::kDecode, SuiteMode::kPrefill};
  int samples = 40;        // questions for each task and context
  int documents = 2;       // prefills for each task and context, which the questions share; windows
                           // of text for perplexity
  int tokens = 256;        // decoded and scored at the end of each window of text
  int batch = 8;           // questions decoded together
  std::uint64_t seed = 1;  // of documents and questions
  std::string version{};   // of the program, to record with each cell
};

struct SuiteTexts {
  std::vector<std::string> prose;  // what facts are hidden in, and text for perplexity
  std::vector<std::string> code;   // for kPerplexityCode only
};

// What came of one task at one context length under one policy.
struct SuiteCell {
  SuiteTask task = SuiteTask::kNeedle;
  int context = 0;
  SuiteMode mode = SuiteMode::kDecode;
  std::string policy;  // SuitePolicy::text, or "dense"
  int documents = 0;   // done; fewer than SuiteSettings::documents while the cell is incomplete
  std::vector<double> scores{};  // of each question, 0 to 1; of each window, nats a token
  ReadStats reads{};
  double seconds = 0;   // of decoding, the documents' prefill not included
  std::string model{};  // name of the directory
  std::uint64_t seed = 0;
  std::string device{};
  std::string version{};

  int samples() const { return static_cast<int>(scores.size()); }
  // Mean share of questions' parts answered right, or perplexity; 0 without samples.
  double score() const;
};

// What the policy of reference cells is called.
inline constexpr std::string_view kSuiteDense = "dense";

// What cells of one directory have in common; cells of different settings cannot be compared.
struct SuiteSettings {
  std::string model;              // name of the directory
  std::string model_fingerprint;  // of its files' sizes and samples of their content
  std::string kv_dtype;
  int page_size = 0;
  int sketch_bits = 0;
  int samples = 0;
  int documents = 0;
  int tokens = 0;
  std::uint64_t seed = 0;
  std::string prose_fingerprint;
  std::string code_fingerprint;  // empty before a run was given code
};

struct SuiteResult {
  SuiteSettings settings;
  std::vector<SuiteCell> cells;  // by task, context and mode; dense first, then as first run

  bool is_complete(const SuiteCell& cell) const { return cell.documents == settings.documents; }
  // Dense attention's score on the cell's own samples.
  double dense_score(const SuiteCell& cell) const;
};

// KV tokens the engine needs room for, to pass as EngineOptions::capacity_tokens.
std::int64_t suite_capacity(const SuiteOptions& options, int page_size);

// Runs the cells that `directory` does not hold yet and returns all it then holds. The directory is
// made when missing; suite.json in it is replaced whole after each document, so a run that was
// stopped loses one document's work at most. Cells that were not asked for stay as they are.
//
// Throws Error: kInvalidArgument for options out of range, a context beyond the model's positions
// and texts that are too short; kInvalidFile, with the directory as it was, when it is a file,
// holds files but no suite.json, is in use by another run, or has a suite.json that is broken or
// has other settings. The first directory of a new path is only made once the options are good.
SuiteResult eval_suite(Engine& engine, const SuiteTexts& texts, const SuiteOptions& options,
                       const std::filesystem::path& directory, const Progress& progress = {});

// What a directory holds. Throws Error (kInvalidFile) as eval_suite does.
SuiteResult read_suite(const std::filesystem::path& directory);

// The object in suite.json; docs/cli.md lists its fields.
std::string to_json(const SuiteResult& result);

// Quality over KV read fraction in one panel per task and context, a line for each kind of policy
// over its settings; complete cells of one mode only.
std::string to_svg(const SuiteResult& result, SuiteMode mode);
// Writes decode.svg and prefill.svg (of the modes there are cells of) into a results directory;
// each file appears whole or not at all.
void write_suite_plots(const SuiteResult& result, const std::filesystem::path& directory);

}  // namespace sinkrouter
