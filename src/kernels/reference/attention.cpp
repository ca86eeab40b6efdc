#include <cmath>
#include <limits>
#include <vector>

#include "kernels/paging.h"
#include "kernels/reference/reference.h"
#include "kernels/reference/rows.h"

namespace sinkrouter::reference {
namespace {

// Tokens that a list names, in order.
std::vector<std::int64_t> listed_tokens(const DecodeAttentionParams& params, int sequence,
                                        int kv_head) {
  const GranuleLists& lists = params.lists;
  const std::int32_t* list = lists.list(sequence, kv_head, params.kv.kv_heads);
  const int count = lists.counts[std::int64_t{sequence} * params.kv.kv_heads + kv_head];
  std::vector<std::int64_t> tokens;
  for (int i = 0; i < count; ++i) {
    for (int row = 0; row < lists.granule; ++row) {
      const std::int64_t token = std::int64_t{list[i]} * lists.granule + row;
      if (token < params.kv.lengths[sequence]) tokens.push_back(token);
    }
  }
  return tokens;
}

// Softmax attention of one query over `tokens`; returns the lse. output may be nullptr.
double attend(const float* query, float scale, const KvView& kv, int sequence, int kv_head,
              const std::vector<std::int64_t>& tokens, float* output) {
  const double key_scale = kv.key_scales == nullptr ? 1.0 : kv.key_scales[kv_head];
  const double value_scale = kv.value_scales == nullptr ? 1.0 : kv.value_scales[kv_head];
  std::vector<double> weights(tokens.size());
  double largest = -std::numeric_limits<double>::infinity();
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const std::int64_t offset = row_offset(kv, sequence, kv_head, tokens[i]);
    weights[i] = scale * key_scale * dot(query, kv.keys, kv.dtype, offset, kv.head_dim);
    largest = std::fmax(largest, weights[i]);
  }
  double sum = 0;
  for (double& weight : weights) {
    weight = std::exp(weight - largest);
    sum += weight;
  }
  if (output != nullptr) {
    std::vector<double> mixed(kv.head_dim, 0.0);
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      const std::int64_t offset = row_offset(kv, sequence, kv_head, tokens[i]);
      for (int c = 0; c < kv.head_dim; ++c) {
        mixed[c] += weights[i] / sum * element(kv.values, kv.dtype, offset + c);
      }
    }
    for (int c = 0; c < kv.head_dim; ++c) output[c] = static_cast<float>(value_scale * mixed[c]);
  }
  return tokens.empty() ? largest : largest + std::log(sum);
}

}  // namespace

void decode_attention(const DecodeAttentionParams& params) {
  const KvView& kv = params.kv;
  const int group = params.q_heads / kv.kv_heads;
  for (int sequence = 0; sequence < kv.sequences; ++sequence) {
    for (int head = 0; head < params.q_heads; ++head) {
      const int kv_head = head / group;
      const std::int64_t row = std::int64_t{sequence} * params.q_heads + head;
      float* output = params.output == nullptr ? nullptr : params.output + row * kv.head_dim;
      const double lse = attend(params.queries + row * kv.head_dim, params.scale, kv, sequence,
                                kv_head, listed_tokens(params, sequence, kv_head), output);
      if (params.lse != nullptr) params.lse[row] = static_cast<float>(lse);
    }
  }
}

void prefill_attention(const PrefillAttentionParams& params) {
  const KvView& kv = params.kv;
  const int group = params.q_heads / kv.kv_heads;
  std::vector<std::int64_t> past;
  for (int position = 0; position < params.first_position; ++position) past.push_back(position);
  for (int token = 0; token < params.tokens; ++token) {
    past.push_back(params.first_position + token);
    for (int head = 0; head < params.q_heads; ++head) {
      const std::int64_t at = (std::int64_t{token} * params.q_heads + head) * kv.head_dim;
      attend(params.queries + at, params.scale, kv, 0, head / group, past, params.output + at);
    }
  }
}

void row_logits(const RowLogitsParams& params) {
  const KvView& kv = params.kv;
  const int group = params.q_heads / kv.kv_heads;
  for (int sequence = 0; sequence < kv.sequences; ++sequence) {
    for (int head = 0; head < params.q_heads; ++head) {
      const std::int64_t row = std::int64_t{sequence} * params.q_heads + head;
      for (int token = 0; token < kv.lengths[sequence]; ++token) {
        const double product = dot(params.queries + row * kv.head_dim, kv.keys, kv.dtype,
                                   row_offset(kv, sequence, head / group, token), kv.head_dim);
        params.logits[row * params.logit_stride + token] =
            static_cast<float>(params.scale * product);
      }
    }
  }
}

}  // namespace sinkrouter::reference
