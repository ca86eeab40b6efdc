#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "kv/kv_view.h"
#include "router/lists.h"

// One decode step of the router on the device: every pointer is a device pointer, nothing is
// allocated or read back, and every launch has a shape that follows from the limits alone.
namespace sinkrouter::cuda {

enum class RouterRule : std::int32_t {
  kDense,
  kStreaming,
  kCosine,  // granule 1
  kMargin,
  kRoute
};

// Blocks that every list of a sequence and KV head holds. Entries that name no row are passed over.
struct PinnedView {
  const std::int32_t* blocks = nullptr;  // [sequences, kv_heads, capacity]
  const std::int32_t* counts = nullptr;  // [sequences, kv_heads]; nullptr: nothing is pinned
  std::int32_t capacity = 0;             // at most kMostPinned
};

inline constexpr int kMostPinned = 8;
inline constexpr int kMostGroup = 16;        // q heads of a KV head
inline constexpr int kMostSequences = 1024;  // of one step

inline constexpr int kMassBins = 2048;  // of a q head's histogram (mass_histogram.cuh)

// What stages leave for later ones. router_workspace() carves it out of one allocation. `slots` are
// head_slots(q heads of a KV head).
struct RouterWorkspace {
  // Zero between steps: candidates of each tier by their bins, and whether one was no number.
  std::uint32_t* histograms = nullptr;  // [2, sequences, q_heads, kMassBins]
  std::uint32_t* doubtful = nullptr;    // [2, sequences, q_heads]
  // Of each tier's selection, 1 + entries that a chunk lists; 0 not yet. Zero after tier 0.
  std::uint32_t* progress = nullptr;  // [2, sequences, kv_heads, chunks]
  std::int32_t chunks = 0;
  float2* kept_parts = nullptr;   // [sequences, q_heads, kept_units]: largest logit, sum of
                                  // exp(logit - largest)
  float* references = nullptr;    // [sequences, q_heads]: where bins begin
  float* kept_lse = nullptr;      // [sequences, q_heads]
  float* left = nullptr;          // [sequences, q_heads]: log of the most mass that tier 0
                                  // leaves for good; NaN: nothing can be said
  std::uint16_t* bins = nullptr;  // [sequences, kv_heads, block_stride, slots]: of granules
  std::int64_t block_stride = 0;
  // Granule 1 only from here.
  float* mean_logits = nullptr;        // [sequences, kv_heads, block_stride, slots]: scale * q.mean
  std::int8_t* query_codes = nullptr;  // [sequences, q_heads, head_dim]
  float* query_steps = nullptr;        // [sequences, q_heads]
  std::int32_t* query_sums = nullptr;  // [sequences, q_heads]: of its codes
  float* query_squares = nullptr;      // [sequences, q_heads]: |query|^2
  std::int32_t* blocks = nullptr;      // [sequences, kv_heads, block_stride]: kept ones and
                                       // tier 0's choice, ascending
  std::int32_t* block_indices = nullptr;  // likewise: where they are described, -1 for kept ones
  std::int32_t* block_counts = nullptr;   // [sequences, kv_heads]
  std::uint16_t* row_bins = nullptr;      // [sequences, kv_heads, row_stride, slots]
  std::int64_t row_stride = 0;
};

// Most of anything that a step of these limits may meet; launch shapes depend on nothing else.
struct RouterLimits {
  int sequences = 0;
  int q_heads = 0;
  int kv_heads = 0;
  int head_dim = 0;
  int length = 0;  // tokens of a sequence
  int window = 1;
  int granule = 32;  // 1, or kBlockSize times a power of 2 up to 16
};

struct RouterStep {
  RouterRule rule = RouterRule::kMargin;
  const float* queries = nullptr;  // [sequences, q_heads, head_dim], post-RoPE
  int q_heads = 0;
  float scale = 0;
  KvView kv;
  MomentsView moments;
  SketchView sketches;  // granule 1 only
  PinnedView pinned;
  int window = 1;
  float epsilon = 0;
  float block_share = 0.1f;
  float tau = 0.5f;
  const float* tightening = nullptr;  // [kv_heads] factors on epsilon, or nullptr
  int kept_units = 0;                 // of the limits: kept_units()
  RouterWorkspace workspace;
  GranuleLists lists;              // the result
  std::uint8_t* routed = nullptr;  // [sequences, kv_heads]
};

int kept_units(const RouterLimits& limits);
std::int64_t router_workspace_bytes(const RouterLimits& limits);
// Carves `memory` (256-byte aligned, router_workspace_bytes()).
RouterWorkspace router_workspace(const RouterLimits& limits, void* memory);
// Makes a workspace ready for its first step; each step leaves it ready for the next.
void clear_router_workspace(const RouterLimits& limits, const RouterWorkspace& workspace,
                            cudaStream_t stream);

// The stages, in order. They throw Error when no kernel fits or a launch fails. Chains of launches
// overlap (programmatic dependent launch): all of them wait for what came before in the stream, but
// lengths, page table, pinned blocks and queries must not be written between the stages.
//
// Tier 0: the kept set's log-sum-exp in parts, queries as sketches meet them, granules' bins.
void launch_tier0(const RouterStep& step, const RouterLimits& limits, cudaStream_t stream);
// Granule >= 32: the lists. Granule 1: the blocks worth a closer look.
void launch_select_granules(const RouterStep& step, const RouterLimits& limits,
                            cudaStream_t stream);
// Tier 1, granule 1: bins of the rows of those blocks.
void launch_tier1(const RouterStep& step, const RouterLimits& limits, cudaStream_t stream);
// Granule 1: the lists.
void launch_select_rows(const RouterStep& step, const RouterLimits& limits, cudaStream_t stream);
// Lists that need no estimates: dense, streaming, cosine.
void launch_plain_lists(const RouterStep& step, const RouterLimits& limits, cudaStream_t stream);

// All of them, as the rule and the granule ask.
void launch_router(const RouterStep& step, const RouterLimits& limits, cudaStream_t stream);

}  // namespace sinkrouter::cuda
