#include "backend/cpu/routed_attention.h"

#include <algorithm>
#include <cmath>

#include "base/dtype.h"
#include "kernels/cpu/cpu.h"
#include "router/estimates.h"
#include "router/kept_set.h"
#include "router/traffic.h"

namespace sinkrouter::cpu {
namespace {

// The list granule a policy works at. Dense lists whole pages, the fewest entries; the published
// cosine test names row 0 alone.
int working_granule(const PolicyOptions& policy, int page_size) {
  switch (policy.kind) {
    case PolicyKind::kDense:
      return page_size;
    case PolicyKind::kCosine:
      return 1;
    default:
      return policy.granule;
  }
}

float log_sum_exp(const float* logits, int count) {
  const double top = *std::max_element(logits, logits + count);
  double sum = 0;
  for (int i = 0; i < count; ++i) sum += std::exp(logits[i] - top);
  return static_cast<float>(top + std::log(sum));
}

bool selects_by_mass(PolicyKind kind) {
  return kind == PolicyKind::kMargin || kind == PolicyKind::kRoute || kind == PolicyKind::kOracle;
}

}  // namespace

// One call with what every stage of it needs.
struct RoutedAttention::Step {
  const DecodeAttention& call;
  KvView kv;
  MomentsView moments;
  GranuleLists lists;
  int sequences = 0;
  int group = 0;     // q heads per KV head
  int capacity = 0;  // the longest a sequence can get
  std::int64_t score_stride = 0;
  std::int64_t select_scratch_stride = 0;

  bool exact() const { return call.policy->kind == PolicyKind::kOracle; }
  int granules() const { return granule_count(capacity, lists.granule); }
  const float* query(int sequence, int q_head) const {
    return call.queries + (std::int64_t{sequence} * call.q_heads + q_head) * kv.head_dim;
  }
  KeptSet kept(int sequence) const {
    return make_kept_set(kv.lengths[sequence], lists.granule, call.policy->window);
  }
};

void RoutedAttention::run(const KvCache& cache, const DecodeAttention& call) {
  const Step step = prepare(cache, call);
  if (selects_by_mass(call.policy->kind)) {
    compute_kept_lse(step);
    step.exact() ? compute_row_logits(step) : compute_block_scores(step);
  }
  write_lists(step);
  attend(step);
  count_reads(step);
  if (call.observer != nullptr) observe(step);
}

RoutedAttention::Step RoutedAttention::prepare(const KvCache& cache, const DecodeAttention& call) {
  Step step{.call = call,
            .kv = cache.view(call.layer, *call.tables),
            .moments = cache.moments(call.layer),
            .lists = {}};
  step.sequences = step.kv.sequences;
  step.group = call.q_heads / step.kv.kv_heads;
  step.capacity = cache.pages() * step.kv.page_size;
  step.lists.granule = working_granule(*call.policy, step.kv.page_size);
  step.lists.capacity = step.granules();
  step.score_stride = step.exact() ? step.capacity : step.capacity / kBlockSize;
  step.select_scratch_stride = select_scratch_bytes(step.granules());
  reserve(step);
  step.lists.granules = list_entries_.data();
  step.lists.counts = list_counts_.data();
  return step;
}

void RoutedAttention::reserve(const Step& step) {
  const std::int64_t groups = std::int64_t{step.sequences} * step.kv.kv_heads;
  const std::int64_t heads = std::int64_t{step.sequences} * step.call.q_heads;
  list_entries_.reserve(groups * step.lists.capacity);
  list_counts_.reserve(groups);
  routed_.reserve(groups);
  kept_lse_.reserve(heads);
  cosines_.reserve(heads);
  workspace_.reserve(decode_attention_workspace(step.sequences, step.call.q_heads, step.kv.kv_heads,
                                                step.kv.head_dim, threads_.size()));
  if (selects_by_mass(step.call.policy->kind)) {
    scores_.reserve(heads * step.score_stride);
    select_scratch_.reserve(threads_.size() * step.select_scratch_stride);
  }
}

void RoutedAttention::compute_kept_lse(const Step& step) {
  for (int sequence = 0; sequence < step.sequences; ++sequence) {
    const KeptSet kept = step.kept(sequence);
    for (int kv_head = 0; kv_head < step.kv.kv_heads; ++kv_head) {
      step.lists.counts[sequence * step.kv.kv_heads + kv_head] =
          write_kept_list(kept, step.lists.list(sequence, kv_head, step.kv.kv_heads));
    }
  }
  DecodeAttentionParams params;
  params.queries = step.call.queries;
  params.q_heads = step.call.q_heads;
  params.scale = step.call.scale;
  params.kv = step.kv;
  params.lists = step.lists;
  params.lse = kept_lse_.data();
  params.workspace = workspace_.data();
  params.workspace_bytes = workspace_.size();
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

void RoutedAttention::write_lists(const Step& step) {
  const int kv_heads = step.kv.kv_heads;
  threads_.run(step.sequences * kv_heads, [&](int group, int worker) {
    const Selection selection = select(step, group / kv_heads, group % kv_heads, worker);
    step.lists.counts[group] = selection.count;
    routed_[group] = selection.routed ? 1 : 0;
  });
}

Selection RoutedAttention::select(const Step& step, int sequence, int kv_head, int worker) {
  std::int32_t* list = step.lists.list(sequence, kv_head, step.kv.kv_heads);
  switch (step.call.policy->kind) {
    case PolicyKind::kDense:
      return select_dense(granule_count(step.kv.lengths[sequence], step.lists.granule), list);
    case PolicyKind::kStreaming:
      return select_streaming(step.kept(sequence), list);
    case PolicyKind::kCosine:
      return select_by_cosine(step, sequence, kv_head);
    case PolicyKind::kMargin:
    case PolicyKind::kRoute:
    case PolicyKind::kOracle:
      return select_by_mass(step, step.kept(sequence), sequence, kv_head, worker);
  }
  SR_ASSERT(false);
}

Selection RoutedAttention::select_by_mass(const Step& step, const KeptSet& kept, int sequence,
                                          int kv_head, int worker) {
  const std::int64_t first_head =
      std::int64_t{sequence} * step.call.q_heads + std::int64_t{kv_head} * step.group;
  float* masses = scores_.data() + first_head * step.score_stride;
  const int parts = step.exact() ? step.lists.granule : step.lists.granule / kBlockSize;
  // Granules past the last complete one are kept, so nothing asks for their mass.
  const int complete = kept.length / step.lists.granule;
  granule_log_masses(masses, step.score_stride, step.group, complete, parts, masses,
                     step.score_stride);
  const GroupEstimates estimates{.log_masses = masses,
                                 .stride = step.score_stride,
                                 .kept_lse = kept_lse_.data() + first_head,
                                 .group = step.group};
  std::byte* scratch = select_scratch_.data() + worker * step.select_scratch_stride;
  std::int32_t* list = step.lists.list(sequence, kv_head, step.kv.kv_heads);
  const PolicyOptions& policy = *step.call.policy;
  return policy.kind == PolicyKind::kRoute
             ? select_route(kept, estimates, policy.epsilon, scratch, list)
             : select_margin(kept, estimates, policy.epsilon, scratch, list);
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

void RoutedAttention::attend(const Step& step) {
  DecodeAttentionParams params;
  params.queries = step.call.queries;
  params.q_heads = step.call.q_heads;
  params.scale = step.call.scale;
  params.kv = step.kv;
  params.lists = step.lists;
  params.output = step.call.output;
  params.workspace = workspace_.data();
  params.workspace_bytes = workspace_.size();
  decode_attention(params, threads_);
}

void RoutedAttention::count_reads(const Step& step) {
  if (step.call.stats == nullptr) return;
  ReadStats& stats = *step.call.stats;
  const int head_dim = step.kv.head_dim;
  const std::size_t element_bytes = size_in_bytes(step.kv.dtype);
  const PolicyKind kind = step.call.policy->kind;
  const bool reads_moments = kind == PolicyKind::kMargin || kind == PolicyKind::kRoute;
  for (int sequence = 0; sequence < step.sequences; ++sequence) {
    const int length = step.kv.lengths[sequence];
    for (int kv_head = 0; kv_head < step.kv.kv_heads; ++kv_head) {
      const int group = sequence * step.kv.kv_heads + kv_head;
      const std::int64_t rows = listed_rows(step.lists.list(sequence, kv_head, step.kv.kv_heads),
                                            step.lists.counts[group], step.lists.granule, length);
      stats.attention_bytes += row_bytes(rows, head_dim, element_bytes);
      stats.dense_bytes += row_bytes(length, head_dim, element_bytes);
      if (reads_moments) stats.router_bytes += moments_bytes(length, head_dim);
      stats.routed_decisions += routed_[group];
    }
  }
  stats.decisions += std::int64_t{step.sequences} * step.kv.kv_heads;
}

void RoutedAttention::observe(const Step& step) {
  const int kv_heads = step.kv.kv_heads;
  const int q_heads = step.call.q_heads;
  for (int sequence = 0; sequence < step.sequences; ++sequence) {
    const int length = step.kv.lengths[sequence];
    observed_logits_.reserve(std::int64_t{q_heads} * step.capacity);
    observed_lse_.reserve(q_heads);
    KvView one = step.kv;
    one.sequences = 1;
    one.page_table += sequence * one.page_table_stride;
    one.lengths += sequence;
    RowLogitsParams params;
    params.queries = step.query(sequence, 0);
    params.q_heads = q_heads;
    params.scale = step.call.scale;
    params.kv = one;
    params.logits = observed_logits_.data();
    params.logit_stride = length;
    row_logits(params, threads_);
    for (int head = 0; head < q_heads; ++head) {
      observed_lse_[head] =
          log_sum_exp(observed_logits_.data() + std::int64_t{head} * length, length);
    }

    AttentionObservation seen;
    seen.sequence = sequence;
    seen.layer = step.call.layer;
    seen.length = length;
    const auto elements = static_cast<std::size_t>(q_heads) * static_cast<std::size_t>(length);
    seen.logits = {observed_logits_.data(), elements};
    seen.logit_stride = length;
    seen.lse = {observed_lse_.data(), static_cast<std::size_t>(q_heads)};
    seen.granule = step.lists.granule;
    seen.list_counts = {step.lists.counts + std::int64_t{sequence} * kv_heads,
                        static_cast<std::size_t>(kv_heads)};
    seen.list_stride = step.lists.capacity;
    seen.lists = {step.lists.list(sequence, 0, kv_heads),
                  static_cast<std::size_t>(kv_heads * step.lists.capacity)};
    seen.routed = {routed_.data() + std::int64_t{sequence} * kv_heads,
                   static_cast<std::size_t>(kv_heads)};
    (*step.call.observer)(seen);
  }
}

}  // namespace sinkrouter::cpu
