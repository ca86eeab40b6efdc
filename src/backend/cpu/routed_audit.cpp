#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "backend/cpu/routed_attention.h"
#include "backend/cpu/routed_step.h"
#include "base/dtype.h"
#include "kernels/cpu/cpu.h"
#include "router/block_shares.h"
#include "router/sinks.h"
#include "router/traffic.h"

// Decisions read in full after the fact, a random few of them.
namespace sinkrouter::cpu {
namespace {

// One KV head of one sequence as if there were no other.
KvView only(const KvView& kv, int sequence, int kv_head) {
  KvView one = kv;
  const std::int64_t offset =
      kv_head * kv.head_stride * static_cast<std::int64_t>(size_in_bytes(kv.dtype));
  one.keys = static_cast<const std::byte*>(kv.keys) + offset;
  one.values = static_cast<const std::byte*>(kv.values) + offset;
  one.kv_heads = 1;
  one.sequences = 1;
  one.page_table += sequence * kv.page_table_stride;
  one.lengths += sequence;
  return one;
}

float relative_error(const float* actual, const float* expected, int count) {
  double difference = 0;
  double norm = 0;
  for (int i = 0; i < count; ++i) {
    difference += std::pow(double{actual[i]} - expected[i], 2);
    norm += double{expected[i]} * expected[i];
  }
  return norm > 0 ? static_cast<float>(std::sqrt(difference / norm)) : 0.0f;
}

}  // namespace

void RoutedAttention::audit(const Step& step, KvCache& cache) {
  for (int sequence = 0; sequence < step.sequences; ++sequence) {
    for (int kv_head = 0; kv_head < step.kv.kv_heads; ++kv_head) {
      if (step.call.audit->draws(step.call.policy->audit_share)) {
        audit_group(step, cache, sequence, kv_head);
      }
    }
  }
}

// Keys alone say what was left unread, and where the queries looked.
void RoutedAttention::audit_group(const Step& step, KvCache& cache, int sequence, int kv_head) {
  const int length = step.kv.lengths[sequence];
  const std::int64_t head = step.first_head(sequence, kv_head);
  const auto group = static_cast<std::size_t>(step.group);
  RowLogitsParams params;
  params.queries = step.query(sequence, kv_head * step.group);
  params.q_heads = step.group;
  params.scale = step.call.scale;
  params.kv = only(step.kv, sequence, kv_head);
  params.logits = audit_logits_.data();
  params.logit_stride = step.capacity;
  row_logits(params, threads_);
  const int blocks = granule_count(length, kBlockSize);
  std::fill_n(audit_shares_.data(), std::int64_t{step.group} * blocks, 0.0f);
  threads_.run(step.group, [&](int member, int worker) {
    const float lse =
        add_block_shares(audit_logits_.data() + std::int64_t{member} * step.capacity, length,
                         1.0f / static_cast<float>(step.group),
                         audit_scratch_.data() + worker * block_shares_scratch(step.capacity),
                         audit_shares_.data() + std::int64_t{member} * blocks);
    audit_masses_[member] = std::max(0.0f, 1.0f - std::exp(read_lse_[head + member] - lse));
  });
  for (int member = 1; member < step.group; ++member) {
    const float* more = audit_shares_.data() + std::int64_t{member} * blocks;
    for (int block = 0; block < blocks; ++block) audit_shares_[block] += more[block];
  }
  const bool compares_output = step.call.audit->draws_output();
  if (compares_output) compare_output(step, params.kv, head);
  step.call.audit->record(step.call.layer, kv_head, step.call.policy->epsilon,
                          {audit_masses_.data(), group},
                          {audit_errors_.data(), compares_output ? group : 0});
  refresh_pins(step, cache, sequence, kv_head);

  if (step.call.stats == nullptr) return;
  const std::int64_t rows = row_bytes(length, step.kv.head_dim, size_in_bytes(step.kv.dtype));
  step.call.stats->audit_bytes += rows / 2 + (compares_output ? rows : 0);
}

// Relative errors of a group's outputs against dense attention into audit_errors_.
void RoutedAttention::compare_output(const Step& step, const KvView& kv, std::int64_t head) {
  const int head_dim = step.kv.head_dim;
  std::int32_t pages = granule_count(kv.lengths[0], kv.page_size);
  std::iota(audit_list_.data(), audit_list_.data() + pages, 0);
  DecodeAttentionParams params;
  params.queries = step.call.queries + head * head_dim;
  params.q_heads = step.group;
  params.scale = step.call.scale;
  params.kv = kv;
  params.lists = {
      .granules = audit_list_.data(), .counts = &pages, .capacity = pages, .granule = kv.page_size};
  params.output = audit_output_.data();
  params.workspace = workspace_.data();
  params.workspace_bytes = workspace_.size();
  decode_attention(params, threads_);
  for (int member = 0; member < step.group; ++member) {
    audit_errors_[member] =
        relative_error(step.call.output + (head + member) * head_dim,
                       audit_output_.data() + std::int64_t{member} * head_dim, head_dim);
  }
}

void RoutedAttention::refresh_pins(const Step& step, KvCache& cache, int sequence, int kv_head) {
  const int length = step.kv.lengths[sequence];
  const int blocks = granule_count(length, kBlockSize);
  const PinnedBlocks& pinned = step.call.tables->pinned(sequence, step.call.layer, kv_head);
  std::array<SinkBlock, kMaxPinnedBlocks> known;
  for (int i = 0; i < pinned.count; ++i) known[i] = {pinned.blocks[i], pinned.masses[i]};
  std::array<SinkBlock, kMaxPinnedBlocks> sinks;
  const KeptSet kept = make_kept_set(length, kBlockSize, step.call.policy->window);
  PinnedBlocks refreshed;
  refreshed.count = refresh_sinks(kept, {audit_shares_.data(), static_cast<std::size_t>(blocks)},
                                  {known.data(), static_cast<std::size_t>(pinned.count)}, sinks);
  for (int i = 0; i < refreshed.count; ++i) {
    refreshed.blocks[i] = sinks[i].block;
    refreshed.masses[i] = sinks[i].mass;
  }
  cache.pin(step.call.ids[static_cast<std::size_t>(sequence)], step.call.layer, kv_head, refreshed);
}

}  // namespace sinkrouter::cpu
