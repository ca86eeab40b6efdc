#include <algorithm>
#include <atomic>
#include <cmath>

#include "backend/cpu/routed_attention.h"
#include "backend/cpu/routed_step.h"
#include "base/dtype.h"
#include "kernels/cpu/cpu.h"
#include "router/estimates.h"

// The router's stages: what they estimate, and the lists they write.
namespace sinkrouter::cpu {

void RoutedAttention::estimate(const Step& step) {
  if (step.certified()) {
    compute_kept_lse(step);
    certify_kept_lse(step);
    list_unkept_blocks(step);
    return compute_row_bounds(step);
  }
  if (step.by_bounds()) return compute_box_bounds(step);
  if (!step.by_mass()) return;
  compute_kept_lse(step);
  if (step.exact()) return compute_row_logits(step);
  compute_block_scores(step);
  if (!step.scores_rows()) return;
  choose_blocks(step);
  compute_row_scores(step);
}

void RoutedAttention::compute_kept_lse(const Step& step) {
  const GranuleLists& lists = step.reads_sketches() ? step.blocks : step.lists;
  for (int sequence = 0; sequence < step.sequences; ++sequence) {
    for (int kv_head = 0; kv_head < step.kv.kv_heads; ++kv_head) {
      const KeptSet kept = step.kept(sequence, kv_head, lists.granule);
      lists.counts[sequence * step.kv.kv_heads + kv_head] =
          write_kept_list(kept, lists.list(sequence, kv_head, step.kv.kv_heads));
    }
  }
  DecodeAttentionParams params = attention_params(step, lists);
  params.lse = kept_lse_.data();
  decode_attention(params, threads_);
}

void RoutedAttention::compute_block_scores(const Step& step) {
  BlockScoresParams params;
  params.queries = step.call.queries;
  params.q_heads = step.call.q_heads;
  params.scale = step.call.scale;
  params.kv = step.kv;
  params.moments = step.moments;
  params.scores = scores_.data();
  params.score_stride = step.score_stride;
  block_scores(params, threads_);
}

void RoutedAttention::compute_box_bounds(const Step& step) {
  BoxBoundsParams params;
  params.queries = step.call.queries;
  params.q_heads = step.call.q_heads;
  params.scale = step.call.scale;
  params.kv = step.kv;
  params.boxes = step.boxes;
  params.bounds = scores_.data();
  params.bound_stride = step.score_stride;
  box_bounds(params, threads_);
}

void RoutedAttention::compute_row_logits(const Step& step) {
  RowLogitsParams params;
  params.queries = step.call.queries;
  params.q_heads = step.call.q_heads;
  params.scale = step.call.scale;
  params.kv = step.kv;
  params.logits = scores_.data();
  params.logit_stride = step.score_stride;
  row_logits(params, threads_);
}

void RoutedAttention::choose_blocks(const Step& step) {
  const int kv_heads = step.kv.kv_heads;
  const PolicyOptions& policy = *step.call.policy;
  threads_.run(step.sequences * kv_heads, [&](int group, int worker) {
    const int sequence = group / kv_heads;
    const int kv_head = group % kv_heads;
    const std::int64_t head = step.first_head(sequence, kv_head);
    const GroupEstimates estimates{.log_masses = scores_.data() + head * step.score_stride,
                                   .stride = step.score_stride,
                                   .kept_lse = kept_lse_.data() + head,
                                   .group = step.group};
    step.blocks.counts[group] =
        select_blocks(step.kept(sequence, kv_head, kBlockSize), estimates,
                      step.epsilon(kv_head) * policy.block_share, scratch_of(step, worker),
                      step.blocks.list(sequence, kv_head, kv_heads), left_.data() + head);
    if (step.blocks.counts[group] > 0) sketch_group_queries(step, head);
  });
}

void RoutedAttention::sketch_group_queries(const Step& step, std::int64_t head) {
  SketchQueriesParams params;
  params.queries = step.call.queries + head * step.kv.head_dim;
  params.rotation = step.sketches.rotation;
  params.rows = step.group;
  params.head_dim = step.kv.head_dim;
  params.codes = query_codes_.data() + head * step.kv.head_dim;
  params.steps = query_steps_.data() + head;
  if (step.certified()) params.misses = query_misses_.data() + head;
  sketch_queries(params);
}

void RoutedAttention::fill_sketched_rows(const Step& step, SketchedRowsParams& params) {
  params.queries = step.call.queries;
  params.query_codes = query_codes_.data();
  params.query_steps = query_steps_.data();
  params.q_heads = step.call.q_heads;
  params.scale = step.call.scale;
  params.kv = step.kv;
  params.moments = step.moments;
  params.sketches = step.sketches;
  params.blocks = step.blocks;
  params.score_stride = step.capacity;
}

void RoutedAttention::compute_row_scores(const Step& step) {
  RowScoresParams params;
  fill_sketched_rows(step, params);
  params.scores = row_scores_.data();
  row_scores(params, threads_);
}

void RoutedAttention::write_lists(const Step& step) {
  if (step.scores_rows()) return list_needed_rows(step);
  const int kv_heads = step.kv.kv_heads;
  threads_.run(step.sequences * kv_heads, [&](int group, int worker) {
    keep(step, group, select(step, group / kv_heads, group % kv_heads, worker));
  });
}

void RoutedAttention::keep(const Step& step, int group, const Selection& selection) {
  step.lists.counts[group] = selection.count;
  routed_[group] = selection.routed ? 1 : 0;
}

std::byte* RoutedAttention::scratch_of(const Step& step, int worker) {
  return select_scratch_.data() + worker * step.select_scratch_stride;
}

Selection RoutedAttention::select(const Step& step, int sequence, int kv_head, int worker) {
  std::int32_t* list = step.lists.list(sequence, kv_head, step.kv.kv_heads);
  switch (step.call.policy->kind) {
    case PolicyKind::kDense:
      return select_dense(granule_count(step.kv.lengths[sequence], step.lists.granule), list);
    case PolicyKind::kStreaming:
      return select_streaming(step.kept(sequence, kv_head, step.lists.granule), list);
    case PolicyKind::kCosine:
      return select_by_cosine(step, sequence, kv_head);
    case PolicyKind::kQuest:
      return select_by_bounds(step, sequence, kv_head, worker);
    case PolicyKind::kCertified:
      return select_from_bounds(step, sequence, kv_head, worker);
    case PolicyKind::kMargin:
    case PolicyKind::kRoute:
    case PolicyKind::kOracle:
      return select_granules(step, sequence, kv_head, worker);
  }
  SR_ASSERT(false);
}

Selection RoutedAttention::select_granules(const Step& step, int sequence, int kv_head,
                                           int worker) {
  const KeptSet kept = step.kept(sequence, kv_head, step.lists.granule);
  const std::int64_t head = step.first_head(sequence, kv_head);
  float* masses = scores_.data() + head * step.score_stride;
  const int parts = step.exact() ? step.lists.granule : step.lists.granule / kBlockSize;
  // Granules past the last complete one are kept, so nothing asks for their mass.
  const int complete = kept.length / step.lists.granule;
  granule_log_masses(masses, step.score_stride, step.group, complete, parts, masses,
                     step.score_stride);
  const GroupEstimates estimates{.log_masses = masses,
                                 .stride = step.score_stride,
                                 .kept_lse = kept_lse_.data() + head,
                                 .group = step.group};
  std::int32_t* list = step.lists.list(sequence, kv_head, step.kv.kv_heads);
  const PolicyOptions& policy = *step.call.policy;
  std::byte* scratch = scratch_of(step, worker);
  return policy.kind == PolicyKind::kRoute
             ? select_route(kept, estimates, policy.epsilon, scratch, list)
             : select_margin(kept, estimates, step.epsilon(kv_head), scratch, list);
}

Selection RoutedAttention::select_by_bounds(const Step& step, int sequence, int kv_head,
                                            int worker) {
  const KeptSet kept = step.kept(sequence, kv_head, step.lists.granule);
  float* bounds = scores_.data() + step.first_head(sequence, kv_head) * step.score_stride;
  granule_bounds(bounds, step.score_stride, step.group, kept.length / step.lists.granule,
                 step.lists.granule / kBlockSize, bounds, step.score_stride);
  return select_quest(kept, {bounds, step.score_stride, step.group}, step.call.policy->budget,
                      scratch_of(step, worker),
                      step.lists.list(sequence, kv_head, step.kv.kv_heads));
}

// Each q head by itself, so that one with many candidates does not keep the others waiting; whoever
// is the last of its group writes the list.
void RoutedAttention::list_needed_rows(const Step& step) {
  std::fill_n(heads_marked_.data(), step.groups(), 0);
  threads_.run(static_cast<int>(step.heads()), [&](int head, int worker) {
    mark_needed_rows(step, head, worker);
    const int group = head / step.group;
    const std::atomic_ref marked(heads_marked_[group]);
    if (marked.fetch_add(1, std::memory_order_acq_rel) + 1 < step.group) return;
    const int sequence = group / step.kv.kv_heads;
    const int kv_head = group % step.kv.kv_heads;
    keep(step, group,
         list_rows(step.kept(sequence, kv_head, kBlockSize), step.chosen_blocks(sequence, kv_head),
                   {row_needs_.data() + step.first_head(sequence, kv_head),
                    static_cast<std::size_t>(step.group)},
                   step.lists.list(sequence, kv_head, step.kv.kv_heads)));
  });
}

void RoutedAttention::mark_needed_rows(const Step& step, int head, int worker) {
  const int sequence = head / step.call.q_heads;
  const int kv_head = head % step.call.q_heads / step.group;
  const std::span<const std::int32_t> blocks = step.chosen_blocks(sequence, kv_head);
  std::uint64_t* needed = needed_.data() + head * needed_words(step.capacity);
  row_needs_[head] = {Need::kNone, needed};
  if (blocks.empty()) return;
  row_needs_[head].need = mark_rows(step.kept(sequence, kv_head, kBlockSize), blocks,
                                    row_scores_.data() + std::int64_t{head} * step.capacity,
                                    {.kept = kept_lse_[head], .left = left_[head]},
                                    step.epsilon(kv_head), scratch_of(step, worker), needed);
}

Selection RoutedAttention::select_by_cosine(const Step& step, int sequence, int kv_head) {
  const int length = step.kv.lengths[sequence];
  std::int32_t* list = step.lists.list(sequence, kv_head, step.kv.kv_heads);
  if (length == 0) return {};
  const int head_dim = step.kv.head_dim;
  const int first_head = kv_head * step.group;
  float* cosines = cosines_.data() + std::int64_t{sequence} * step.call.q_heads + first_head;
  visit_dtype<float, BFloat16, Float16>(step.kv.dtype, [&]<typename T>() {
    const T* key = static_cast<const T*>(step.kv.keys) + row_offset(step.kv, sequence, kv_head, 0);
    for (int member = 0; member < step.group; ++member) {
      const float* query = step.query(sequence, first_head + member);
      float dot = 0, query_square = 0, key_square = 0;
      for (int i = 0; i < head_dim; ++i) {
        const float k = to_float(key[i]);
        dot += query[i] * k;
        query_square += query[i] * query[i];
        key_square += k * k;
      }
      cosines[member] = dot / std::sqrt(query_square * key_square);
    }
  });
  return select_cosine(length, {cosines, static_cast<std::size_t>(step.group)},
                       step.call.policy->tau, list);
}

}  // namespace sinkrouter::cpu
