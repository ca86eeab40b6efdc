#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "base/dtype.h"
#include "kv/kv_view.h"
#include "sinkrouter/observation.h"

namespace sinkrouter::test {

// The lists of one decode step, copied.
struct ReadRows {
  std::vector<std::vector<std::int32_t>> lists;  // [kv_heads], rows

  AttentionObserver observer() {
    return [this](const AttentionObservation& seen) {
      lists.resize(seen.list_counts.size());
      for (std::size_t h = 0; h < lists.size(); ++h) {
        const auto list = seen.lists.subspan(h * seen.list_stride, seen.list_counts[h]);
        lists[h].assign(list.begin(), list.end());
      }
    };
  }
};

// Attention of a sequence's stored keys in doubles.
class TrueMasses {
 public:
  explicit TrueMasses(const KvView& kv)
      : heads_(kv.kv_heads), dim_(kv.head_dim), length_(kv.lengths[0]) {
    visit_dtype<float, BFloat16, Float16>(kv.dtype, [&]<typename T>() {
      for (int h = 0; h < heads_; ++h) {
        for (int row = 0; row < length_; ++row) {
          const T* key = static_cast<const T*>(kv.keys) + row_offset(kv, 0, h, row);
          for (int c = 0; c < dim_; ++c) keys_.push_back(to_float(key[c]));
        }
      }
    });
  }

  // Unread share of the mass for each of queries [q_heads, head_dim].
  const std::vector<double>& unread(std::span<const float> queries, float scale,
                                    const ReadRows& read) {
    const int q_heads = static_cast<int>(queries.size()) / dim_;
    shares_.resize(q_heads);
    logits_.resize(length_);
    for (int q = 0; q < q_heads; ++q) {
      const int kv_head = q / (q_heads / heads_);
      double largest = -INFINITY;
      for (int row = 0; row < length_; ++row) {
        logits_[row] = scale * dot(&queries[q * dim_], &keys_[(kv_head * length_ + row) * dim_]);
        largest = std::max(largest, logits_[row]);
      }
      double masses[2] = {};  // unread, read
      auto next = read.lists[kv_head].begin();
      for (int row = 0; row < length_; ++row) {
        const bool is_read = next != read.lists[kv_head].end() && *next == row;
        if (is_read) ++next;
        masses[is_read ? 1 : 0] += std::exp(logits_[row] - largest);
      }
      shares_[q] = masses[0] / (masses[0] + masses[1]);
    }
    return shares_;
  }

  int length() const { return length_; }
  const double* key(int kv_head, int row) const { return &keys_[(kv_head * length_ + row) * dim_]; }

 private:
  // In lanes, for speed; the order does not matter to doubles.
  double dot(const float* query, const double* key_row) const {
    double sums[8] = {};
    for (int c = 0; c < dim_; c += 8) {
      for (int i = 0; i < 8; ++i) sums[i] += query[c + i] * key_row[c + i];
    }
    return sums[0] + sums[1] + sums[2] + sums[3] + sums[4] + sums[5] + sums[6] + sums[7];
  }

  int heads_;
  int dim_;
  int length_;
  std::vector<double> keys_;  // [kv_heads, length, head_dim]
  std::vector<double> logits_;
  std::vector<double> shares_;
};

}  // namespace sinkrouter::test
