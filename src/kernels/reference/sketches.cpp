#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/paging.h"
#include "kernels/reference/reference.h"
#include "kernels/reference/rows.h"

namespace sinkrouter::reference {
namespace {

// rotation [n, n] times x [n].
std::vector<double> rotated(const float* rotation, const std::vector<double>& x) {
  const std::size_t n = x.size();
  std::vector<double> result(n, 0.0);
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t c = 0; c < n; ++c) result[i] += rotation[i * n + c] * x[c];
  }
  return result;
}

double centre(int bits) { return 0.5 * ((1 << bits) - 1); }

// Where the code of a channel lies in its block's words.
struct CodePlace {
  CodePlace(int bits, int channel, int row) {
    const int channels = 32 / bits;
    const int within = channel % channels;
    word = channel / channels * kBlockSize + row;
    shift = within % 4 * 8 + within / 4 * bits;
  }
  int word;
  int shift;
};

int code_at(const std::uint32_t* words, int bits, int channel, int row) {
  const CodePlace place(bits, channel, row);
  return static_cast<int>((words[place.word] >> place.shift) & ((1u << bits) - 1));
}

// fp16 of a scale; NaN for what fp16 cannot hold, so that nothing is concluded from such a row.
Float16 stored_scale(double scale) {
  const Float16 stored = from_float<Float16>(static_cast<float>(scale));
  return std::isfinite(to_float(stored))
             ? stored
             : from_float<Float16>(std::numeric_limits<float>::quiet_NaN());
}

}  // namespace

void row_sketches(const RowSketchesParams& params) {
  const int dim = params.head_dim;
  const int top = (1 << params.bits) - 1;
  std::fill_n(params.codes, dim * params.bits / 32 * kBlockSize, 0u);
  for (int row = 0; row < kBlockSize; ++row) {
    std::vector<double> residual(dim);
    for (int c = 0; c < dim; ++c) {
      const double mean = double{params.mean_scale} * to_float(Float8E4M3{params.mean_codes[c]});
      residual[c] = element(params.keys, params.dtype, row * params.token_stride + c) - mean;
    }
    const std::vector<double> channels = rotated(params.rotation, residual);
    double squares = 0;
    for (double x : channels) squares += x * x;
    const double step = sketch_step(params.bits) * std::sqrt(squares / dim);
    double along = 0;
    double weight = 0;
    for (int c = 0; c < dim && std::isfinite(step); ++c) {
      const double steps = step > 0 ? channels[c] / step : 0.0;
      const int code = static_cast<int>(
          std::clamp<double>(std::floor(steps + centre(params.bits) + 0.5), 0.0, top));
      const CodePlace place(params.bits, c, row);
      params.codes[place.word] |= static_cast<std::uint32_t>(code) << place.shift;
      const double level = code - centre(params.bits);
      along += channels[c] * level;
      weight += level * level;
    }
    params.scales[row] = stored_scale(std::isfinite(step) ? along / weight : step);
  }
}

void sketch_queries(const SketchQueriesParams& params) {
  for (int row = 0; row < params.rows; ++row) {
    const float* query = params.queries + std::int64_t{row} * params.head_dim;
    const std::vector<double> channels =
        rotated(params.rotation, std::vector<double>(query, query + params.head_dim));
    double largest = 0;
    bool finite = true;
    for (double x : channels) {
      largest = std::max(largest, std::fabs(x));
      finite = finite && std::isfinite(x);
    }
    const double step = finite ? largest / 127 : std::numeric_limits<double>::quiet_NaN();
    params.steps[row] = static_cast<float>(step);
    std::int8_t* codes = params.codes + std::int64_t{row} * params.head_dim;
    for (int c = 0; c < params.head_dim; ++c) {
      codes[c] = step > 0 ? static_cast<std::int8_t>(std::nearbyint(channels[c] / step)) : 0;
    }
  }
}

void row_scores(const RowScoresParams& params) {
  const KvView& kv = params.kv;
  const int dim = kv.head_dim;
  const int bits = params.sketches.bits;
  const int group = params.q_heads / kv.kv_heads;
  for (int sequence = 0; sequence < kv.sequences; ++sequence) {
    for (int head = 0; head < params.q_heads; ++head) {
      const int kv_head = head / group;
      const std::int64_t query_row = std::int64_t{sequence} * params.q_heads + head;
      const float* query = params.queries + query_row * dim;
      const std::int8_t* query_codes = params.query_codes + query_row * dim;
      double query_squares = 0;
      for (int c = 0; c < dim; ++c) query_squares += double{query[c]} * query[c];
      const double noise = 0.5 * params.scale * params.scale * query_squares * sketch_noise(bits);
      const std::int32_t* list = params.blocks.list(sequence, kv_head, kv.kv_heads);
      const int count = params.blocks.counts[std::int64_t{sequence} * kv.kv_heads + kv_head];
      for (int j = 0; j < count; ++j) {
        const std::int64_t index = moments_index(kv, sequence, kv_head, list[j]);
        const std::uint8_t* means = params.moments.codes + index * 2 * dim;
        double along_mean = 0;
        for (int c = 0; c < dim; ++c) along_mean += query[c] * to_float(Float8E4M3{means[c]});
        along_mean *= params.moments.scales[index];
        const std::uint32_t* words = params.sketches.codes + index * (dim * bits / 32) * kBlockSize;
        for (int row = 0; row < kBlockSize; ++row) {
          double product = 0;
          for (int c = 0; c < dim; ++c) {
            product += query_codes[c] * (code_at(words, bits, c, row) - centre(bits));
          }
          const double row_scale = to_float(params.sketches.scales[index * kBlockSize + row]);
          const double along_row = double{params.query_steps[query_row]} * row_scale * product;
          params.scores[query_row * params.score_stride + std::int64_t{j} * kBlockSize + row] =
              static_cast<float>(params.scale * (along_mean + along_row) +
                                 noise * row_scale * row_scale);
        }
      }
    }
  }
}

}  // namespace sinkrouter::reference
