#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "sinkrouter/eval.h"
#include "sinkrouter/suite.h"

// How often a policy leaves more than epsilon unread, and how fast its audit brings that back under
// control, when the text changes abruptly. Every decision is checked with all logits known.
namespace sinkrouter {

struct DriftOptions {
  PolicyOptions policy;
  int context = 8192;  // tokens of prose prefilled
  int tokens = 256;    // decoded of each kind of text
  std::uint64_t seed = 1;
};

// A decision is one q head of one layer at one step.
struct DriftStep {
  double violation_rate = 0;  // share of decisions that left more than epsilon
  double unread_mass = 0;     // mean
  double rows_read = 0;       // share of all rows, mean over groups
  double tightening = 1;      // what the router multiplied epsilon by, mean over groups
};

// What was decoded in one piece.
struct DriftSegment {
  std::string kind{};  // "prose", "code", "facts", "one token", ...
  int first = 0;       // step
  int count = 0;
  double violation_rate = 0;
  double settled_violation_rate = 0;  // without the first kDriftSettling steps
  int recovered_after = -1;  // steps until kDriftWindow steps on end have a violation rate of at
                             // most kAuditTarget on average; -1: never
};

inline constexpr int kDriftSettling = 64;
inline constexpr int kDriftWindow = 16;

struct DriftResult {
  ModelInfo model;
  std::string device;
  PolicyOptions policy;
  int context = 0;
  std::vector<DriftStep> steps{};
  std::vector<DriftSegment> segments{};
  ReadStats reads{};

  double violation_rate() const;
};

// Decodes prose, code, facts with questions and answers, one token over and over, and prose again.
DriftResult eval_drift(Engine& engine, const SuiteTexts& texts, const DriftOptions& options,
                       const Progress& progress = {});
// KV tokens the engine needs room for, to pass as EngineOptions::capacity_tokens.
std::int64_t drift_capacity(const DriftOptions& options, int page_size);

std::string to_json(const DriftResult& result);
std::string to_svg(const DriftResult& result);
// Writes drift.json and drift.svg into `directory`, made when missing; each file appears whole or
// not at all.
void write_drift(const DriftResult& result, const std::filesystem::path& directory);

}  // namespace sinkrouter
