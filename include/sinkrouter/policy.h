#pragma once

#include <span>
#include <string_view>

namespace sinkrouter {

// What a KV head group reads at a decode step. Everything keeps the kept set: the sink block,
// pinned blocks and the last `window` tokens.
enum class PolicyKind {
  kDense,      // every row
  kMargin,     // the fewest granules whose estimated unread mass is at most epsilon
  kRoute,      // as margin, but all or nothing per group
  kCosine,     // the published test: v_0 alone when every q head's cos(q, k_0) >= tau
  kStreaming,  // the kept set only (StreamingLLM)
  kCertified,  // the rows without which the unread mass could be more than epsilon; needs sketches
               // of 4 bits
  kQuest,   // the granules whose keys' box allows the largest logits, a fixed share of all; needs
            // key boxes
  kOracle,  // margin with true masses instead of estimates; for evaluation
};

std::string_view name(PolicyKind kind);          // "dense", "margin", ...
PolicyKind parse_policy(std::string_view text);  // throws Error listing the known names

struct PolicyOptions {
  PolicyKind kind = PolicyKind::kMargin;
  float epsilon = 0.01f;     // unread attention mass allowed per q head and step, in [0, 1)
  float block_share = 0.1f;  // of epsilon that margin may leave in blocks whose rows it does not
                             // look at, in (0, 1]; granule 1 only
  int window = 64;           // last tokens always read, >= 1
  int granule = 1;           // rows a list entry names: 1, or a divisor of the page size
  float audit_share = 1.0f / 64;  // of margin's decisions that are checked by reading everything
  float tau = 0.5f;               // cosine threshold, in [-1, 1]
  float budget = 0.1f;            // of the rows that quest reads for each q head, in (0, 1]

  bool operator==(const PolicyOptions&) const = default;
};

// Throws Error naming the option and its range.
void validate(const PolicyOptions& options, int page_size);

// Bits a channel of row sketches (EngineOptions::sketch_bits) with which all of these policies
// work.
int needed_sketch_bits(std::span<const PolicyOptions> policies);

// Whether one of these policies needs boxes of the keys (EngineOptions::key_boxes).
bool needs_key_boxes(std::span<const PolicyOptions> policies);

}  // namespace sinkrouter
