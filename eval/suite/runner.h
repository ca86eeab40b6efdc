#pragma once

#include <functional>
#include <string_view>
#include <vector>

#include "eval/suite/store.h"
#include "eval/suite/text_tokens.h"
#include "sinkrouter/suite.h"

namespace sinkrouter {

// A cell to go on with, and the policy it is of.
struct PendingCell {
  SuiteMode mode = SuiteMode::kDecode;
  const SuitePolicy* policy = nullptr;
};

// One document (or window of text) of a task at a context length, for all cells that lack it.
struct DocumentJob {
  SuiteTask task = SuiteTask::kNeedle;
  int context = 0;
  int document = 0;
  std::vector<PendingCell> cells;
};

// Runs jobs on an engine and adds what comes of them to a store's cells.
class SuiteRunner {
 public:
  // Of a job: what is being done and the share of it done so far.
  using JobProgress = std::function<void(std::string_view what, double done)>;

  // Everything must outlive the runner.
  SuiteRunner(Engine& engine, const SuiteTexts& texts, TextTokens& tokens,
              const SuiteOptions& options, SuiteStore& store);

  void run(const DocumentJob& job, const JobProgress& progress);

 private:
  struct Outcome {
    std::vector<double> scores;
    double seconds = 0;
    ReadStats reads{};
  };
  // What a policy makes of a prefilled document.
  using Trial = std::function<std::vector<double>(const PendingCell& cell)>;

  void run_questions(const DocumentJob& job, const JobProgress& progress);
  void run_window(const DocumentJob& job, const JobProgress& progress);
  Sequence prefilled(std::span<const int> tokens, const JobProgress& progress);
  void run_cells(const DocumentJob& job, const Trial& trial, const JobProgress& progress);

  Engine& engine_;
  const SuiteTexts& texts_;
  TextTokens& tokens_;
  const SuiteOptions& options_;
  SuiteStore& store_;
};

}  // namespace sinkrouter
