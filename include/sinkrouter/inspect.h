#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "sinkrouter/eval.h"
#include "sinkrouter/fixed_point.h"

// What the heads of a model do with a text, measured with every logit known.
namespace sinkrouter {

struct InspectOptions {
  PolicyOptions policy;
  int tokens = 128;         // the last of the text, decoded under the policy and observed
  int sinks_per_group = 4;  // reported at most
  std::optional<FixedPointOptions> fixed_point{};
};

struct HeadReport {
  int layer = 0;
  int head = 0;
  int kv_head = 0;
  double sink_mass = 0;        // mean softmax mass of position 0
  double sink_block_mass = 0;  // of the first block of kBlockSize rows
  double sunk_share = 0;       // share of tokens with more than 0.9 of their mass on position 0
  double unread_mass = 0;      // mean of what the policy did not read
  double unread_mass_max = 0;
  double over_epsilon = 0;  // share of tokens whose unread mass exceeds epsilon
};

struct GroupReport {
  int layer = 0;
  int kv_head = 0;
  double routed_share = 0;  // of tokens that read the kept set only
  double read_share = 0;    // mean of rows read over rows there
};

// A row that many queries look at, wherever they are.
struct SinkReport {
  int layer = 0;
  int kv_head = 0;
  int position = 0;
  std::string token;
  double mass = 0;  // mean over the group's q heads and the observed tokens
};

struct AuditReport {
  std::int64_t decisions = 0;  // one per layer, q head and token
  double unread_mass_mean = 0;
  double unread_mass_p95 = 0;
  double unread_mass_max = 0;
  double over_epsilon = 0;  // share of decisions
};

struct InspectReport {
  ModelInfo model;
  std::string device;
  PolicyOptions policy;
  int context = 0;        // rows in the cache at the end
  int tokens = 0;         // observed
  double sunk_share = 0;  // of (layer, head, token) with more than 0.9 on position 0
  ReadStats reads;
  std::vector<HeadReport> heads{};    // [layers * q_heads]
  std::vector<GroupReport> groups{};  // [layers * kv_heads]
  std::vector<SinkReport> sinks{};
  std::vector<PinnedSink> pinned{};  // what the engine had found by the end
  AuditReport audit{};               // every decision, with every logit known
  AuditSummary engine_audit{};       // the random few that the engine checked itself
  std::optional<FixedPointReport> fixed_point{};
};

InspectReport inspect(Engine& engine, std::span<const int> text, const InspectOptions& options,
                      const Progress& progress = {});

std::string to_json(const InspectReport& report);
// Maps of layers and heads: sink mass, mass on pinned sinks, routed share, rows read.
std::string to_svg(const InspectReport& report);
// Writes report.json, heads.svg and the pictures of the fixed point into `directory`, made when
// missing; each file appears whole or not at all, and nothing else in the directory is touched.
// Returns their names.
std::vector<std::string> write_report(const InspectReport& report,
                                      const std::filesystem::path& directory);

}  // namespace sinkrouter
