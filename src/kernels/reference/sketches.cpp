#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <vector>

#include "kernels/paging.h"
#include "kernels/reference/reference.h"
#include "kernels/reference/rows.h"
#include "kernels/rounding.h"

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

// More than rounding of doubles, and of the result to fp32, takes away.
constexpr double kAbove = 1 + 1e-6;

double norm(const std::vector<double>& x) {
  double squares = 0;
  for (double value : x) squares += value * value;
  return std::sqrt(squares);
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

// Of a row whose code and scale are stored.
Float16 stored_miss(const RowSketchesParams& params, int row, std::vector<double> residual) {
  const int dim = params.head_dim;
  const double scale = to_float(params.scales[row]);
  for (int c = 0; c < dim; ++c) {
    const double channel =
        scale * (code_at(params.codes, params.bits, c, row) - centre(params.bits));
    for (int i = 0; i < dim; ++i) residual[i] -= params.rotation[c * dim + i] * channel;
  }
  return float16_not_below(static_cast<float>(norm(residual) * kAbove));
}

// A row of a listed block as a q head sees it.
struct SketchedRow {
  const float* query;
  std::int64_t query_index;  // among [sequences, q_heads]
  std::int64_t sketch;       // among all rows' sketches
  std::int64_t at;           // where its result goes
  std::vector<double> mean;
  std::vector<double> levels;  // codes less their centre
  double scale;
  double logit;
};

void for_listed_rows(const SketchedRowsParams& params,
                     const std::function<void(const SketchedRow&)>& visit) {
  const KvView& kv = params.kv;
  const int dim = kv.head_dim;
  const int bits = params.sketches.bits;
  const int group = params.q_heads / kv.kv_heads;
  SketchedRow row;
  row.mean.resize(dim);
  row.levels.resize(dim);
  for (int sequence = 0; sequence < kv.sequences; ++sequence) {
    for (int head = 0; head < params.q_heads; ++head) {
      const int kv_head = head / group;
      row.query_index = std::int64_t{sequence} * params.q_heads + head;
      row.query = params.queries + row.query_index * dim;
      const std::int8_t* query_codes = params.query_codes + row.query_index * dim;
      const std::int32_t* list = params.blocks.list(sequence, kv_head, kv.kv_heads);
      const int count = params.blocks.counts[std::int64_t{sequence} * kv.kv_heads + kv_head];
      for (int j = 0; j < count; ++j) {
        const std::int64_t index = moments_index(kv, sequence, kv_head, list[j]);
        double along_mean = 0;
        for (int c = 0; c < dim; ++c) {
          row.mean[c] = double{params.moments.scales[index]} *
                        to_float(Float8E4M3{params.moments.codes[index * 2 * dim + c]});
          along_mean += row.query[c] * row.mean[c];
        }
        const std::uint32_t* words = params.sketches.codes + index * (dim * bits / 32) * kBlockSize;
        for (int r = 0; r < kBlockSize; ++r) {
          double product = 0;
          for (int c = 0; c < dim; ++c) {
            row.levels[c] = code_at(words, bits, c, r) - centre(bits);
            product += query_codes[c] * row.levels[c];
          }
          row.sketch = index * kBlockSize + r;
          row.scale = to_float(params.sketches.scales[row.sketch]);
          const double along_row =
              double{params.query_steps[row.query_index]} * row.scale * product;
          row.logit = params.scale * (along_mean + along_row);
          row.at = row.query_index * params.score_stride + std::int64_t{j} * kBlockSize + r;
          visit(row);
        }
      }
    }
  }
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
    if (params.misses != nullptr) params.misses[row] = stored_miss(params, row, residual);
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
    if (params.misses == nullptr) continue;
    std::vector<double> rest = channels;
    for (int c = 0; c < params.head_dim; ++c) rest[c] -= double{params.steps[row]} * codes[c];
    params.misses[row] = static_cast<float>(norm(rest) * kAbove);
  }
}

void row_scores(const RowScoresParams& params) {
  for_listed_rows(params, [&](const SketchedRow& row) {
    double query_squares = 0;
    for (int c = 0; c < params.kv.head_dim; ++c) {
      query_squares += double{row.query[c]} * row.query[c];
    }
    const double noise = 0.5 * params.scale * params.scale * query_squares *
                         sketch_noise(params.sketches.bits) * row.scale * row.scale;
    params.scores[row.at] = static_cast<float>(row.logit + noise);
  });
}

void row_bounds(const RowBoundsParams& params) {
  const int dim = params.kv.head_dim;
  const double rounding = 2 * logit_rounding(dim) + 32 * kUnitRoundoff;
  for_listed_rows(params, [&](const SketchedRow& row) {
    const double reach =
        std::fabs(params.scale) * norm(std::vector<double>(row.query, row.query + dim));
    const double size = std::fabs(row.scale) * norm(row.levels);
    const double mean = norm(row.mean);
    const double miss = to_float(params.sketches.misses[row.sketch]);
    const double query_miss = std::fabs(params.scale) * params.query_misses[row.query_index];
    const double slack =
        (reach * (miss + rounding * (mean + size)) + query_miss * size) * (1 + 512 * kUnitRoundoff);
    params.lower[row.at] = static_cast<float>(row.logit - slack);
    params.upper[row.at] = static_cast<float>(row.logit + slack);
  });
}

}  // namespace sinkrouter::reference
