#include "backend/cpu/routed_attention.h"

#include <algorithm>

#include "backend/cpu/routed_step.h"
#include "base/dtype.h"
#include "kernels/cpu/cpu.h"
#include "router/block_shares.h"
#include "router/traffic.h"

namespace sinkrouter::cpu {
namespace {

// The list granule a policy works at. Dense lists whole pages, the fewest entries; the published
// cosine test names row 0 alone; what is certified is certified of rows; all or nothing has no use
// for rows, and boxes tell nothing about them.
int working_granule(const PolicyOptions& policy, int page_size) {
  switch (policy.kind) {
    case PolicyKind::kDense:
      return page_size;
    case PolicyKind::kCosine:
    case PolicyKind::kCertified:
      return 1;
    case PolicyKind::kRoute:
    case PolicyKind::kQuest:
      return std::max(policy.granule, kBlockSize);
    default:
      return policy.granule;
  }
}

}  // namespace

void RoutedAttention::run(KvCache& cache, const DecodeAttention& call) {
  const Step step = prepare(cache, call);
  estimate(step);
  write_lists(step);
  attend(step);
  count_reads(step);
  if (step.audited()) audit(step, cache);
  if (call.observer != nullptr) observe(step);
}

RoutedAttention::Step RoutedAttention::prepare(const KvCache& cache, const DecodeAttention& call) {
  Step step{.call = call,
            .kv = cache.view(call.layer, *call.tables),
            .moments = cache.moments(call.layer),
            .sketches = cache.sketches(call.layer),
            .boxes = cache.boxes(call.layer),
            .lists = {},
            .blocks = {}};
  step.sequences = step.kv.sequences;
  step.group = call.q_heads / step.kv.kv_heads;
  step.capacity = cache.pages() * step.kv.page_size;
  step.lists.granule = working_granule(*call.policy, step.kv.page_size);
  step.lists.capacity = granule_count(step.capacity, step.lists.granule);
  step.blocks.granule = kBlockSize;
  step.blocks.capacity = step.capacity / kBlockSize;
  step.score_stride = step.exact() ? step.capacity : step.capacity / kBlockSize;
  step.select_scratch_stride =
      select_scratch_bytes(granule_count(step.capacity, step.lists.granule));
  SR_CHECK(
      !step.certified() || step.sketches.misses != nullptr, kInvalidArgument,
      "policy certified needs row sketches of 4 bits, the KV cache has {} bits: open the engine "
      "with sketch_bits 4 (--sketch-bits 4)",
      step.sketches.codes == nullptr ? 0 : step.sketches.bits);
  SR_CHECK(!step.scores_rows() || step.sketches.codes != nullptr, kInvalidArgument,
           "policy margin at granule {} needs row sketches: make the KV cache with them, or use "
           "granule {}",
           step.lists.granule, kBlockSize);
  SR_CHECK(!step.by_bounds() || step.boxes.bounds != nullptr, kInvalidArgument,
           "policy quest needs boxes of the keys: open the engine with key_boxes");
  reserve(step);
  step.lists.granules = list_entries_.data();
  step.lists.counts = list_counts_.data();
  step.blocks.granules = block_entries_.data();
  step.blocks.counts = block_counts_.data();
  return step;
}

void RoutedAttention::reserve(const Step& step) {
  list_entries_.reserve(step.groups() * step.lists.capacity);
  list_counts_.reserve(step.groups());
  routed_.reserve(step.groups());
  kept_lse_.reserve(step.heads());
  read_lse_.reserve(step.heads());
  cosines_.reserve(step.heads());
  workspace_.reserve(decode_attention_workspace(step.sequences, step.call.q_heads, step.kv.kv_heads,
                                                step.kv.head_dim, threads_.size()));
  if (step.audited()) {
    audit_list_.reserve(step.capacity / step.kv.page_size);
    audit_logits_.reserve(std::int64_t{step.group} * step.capacity);
    audit_shares_.reserve(std::int64_t{step.group} * (step.capacity / kBlockSize));
    audit_scratch_.reserve(threads_.size() * block_shares_scratch(step.capacity));
    audit_output_.reserve(std::int64_t{step.group} * step.kv.head_dim);
    for (AlignedArray<float>* array : {&audit_masses_, &audit_errors_}) {
      array->reserve(step.group);
    }
  }
  if (step.by_mass() || step.by_bounds() || step.certified()) {
    select_scratch_.reserve(threads_.size() * step.select_scratch_stride);
  }
  if (step.by_mass() || step.by_bounds()) scores_.reserve(step.heads() * step.score_stride);
  if (step.certified()) {
    row_floors_.reserve(step.heads() * step.capacity);
    query_misses_.reserve(step.heads());
  }
  if (!step.reads_sketches()) return;
  block_entries_.reserve(step.groups() * step.blocks.capacity);
  block_counts_.reserve(step.groups());
  row_scores_.reserve(step.heads() * step.capacity);
  left_.reserve(step.heads());
  needed_.reserve(step.heads() * needed_words(step.capacity));
  row_needs_.reserve(step.heads());
  heads_marked_.reserve(step.groups());
  query_codes_.reserve(step.heads() * step.kv.head_dim);
  query_steps_.reserve(step.heads());
}

DecodeAttentionParams RoutedAttention::attention_params(const Step& step,
                                                        const GranuleLists& lists) {
  DecodeAttentionParams params;
  params.queries = step.call.queries;
  params.q_heads = step.call.q_heads;
  params.scale = step.call.scale;
  params.kv = step.kv;
  params.lists = lists;
  params.workspace = workspace_.data();
  params.workspace_bytes = workspace_.size();
  return params;
}

void RoutedAttention::attend(const Step& step) {
  DecodeAttentionParams params = attention_params(step, step.lists);
  params.output = step.call.output;
  params.lse = read_lse_.data();
  decode_attention(params, threads_);
}

void RoutedAttention::count_reads(const Step& step) {
  if (step.call.stats == nullptr) return;
  ReadStats& stats = *step.call.stats;
  const int head_dim = step.kv.head_dim;
  const std::size_t element_bytes = size_in_bytes(step.kv.dtype);
  for (int sequence = 0; sequence < step.sequences; ++sequence) {
    const int length = step.kv.lengths[sequence];
    for (int kv_head = 0; kv_head < step.kv.kv_heads; ++kv_head) {
      const int group = sequence * step.kv.kv_heads + kv_head;
      const std::int64_t rows = listed_rows(step.lists.list(sequence, kv_head, step.kv.kv_heads),
                                            step.lists.counts[group], step.lists.granule, length);
      stats.attention_bytes += row_bytes(rows, head_dim, element_bytes);
      stats.dense_bytes += row_bytes(length, head_dim, element_bytes);
      if (step.scores_blocks()) stats.router_bytes += moments_bytes(length, head_dim);
      if (step.by_bounds()) stats.router_bytes += boxes_bytes(length, head_dim);
      if (step.scores_rows()) {
        stats.router_bytes += sketch_bytes(step.blocks.counts[group], head_dim, step.sketches.bits);
      }
      if (step.certified()) {
        stats.router_bytes += bounds_bytes(step.blocks.counts[group], head_dim, step.sketches.bits);
      }
      stats.routed_decisions += routed_[group];
    }
  }
  stats.decisions += step.groups();
}

}  // namespace sinkrouter::cpu
