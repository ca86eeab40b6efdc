#include "router_cases.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "kernels/params.h"
#include "kernels/reference/reference.h"

namespace sinkrouter::cuda_tests {
namespace {

template <typename T>
T pick(Rng& rng, std::initializer_list<T> values) {
  return *(values.begin() + rng.below(values.size()));
}

std::vector<float> draw_rotation(Rng& rng, int dim) {
  // Gram-Schmidt of normal rows.
  std::vector<double> rows(static_cast<std::size_t>(dim) * dim);
  for (double& x : rows) x = rng.normal();
  std::vector<float> result(rows.size());
  for (int i = 0; i < dim; ++i) {
    double* row = &rows[static_cast<std::size_t>(i) * dim];
    for (int pass = 0; pass < 2; ++pass) {
      for (int j = 0; j < i; ++j) {
        const double* other = &rows[static_cast<std::size_t>(j) * dim];
        const double along = std::inner_product(row, row + dim, other, 0.0);
        for (int c = 0; c < dim; ++c) row[c] -= along * other[c];
      }
    }
    const double norm = std::sqrt(std::inner_product(row, row + dim, row, 0.0));
    for (int c = 0; c < dim; ++c) {
      row[c] /= norm;
      result[static_cast<std::size_t>(i) * dim + c] = static_cast<float>(row[c]);
    }
  }
  return result;
}

}  // namespace

Case draw_case(Rng& rng) {
  Case c;
  c.sequences = static_cast<int>(1 + rng.below(3));
  c.kv_heads = static_cast<int>(1 + rng.below(3));
  c.group = pick(rng, {1, 2, 4, 4, 7, 8, 16});
  c.dim = pick(rng, {64, 80, 96, 128, 128});
  c.page_size = pick(rng, {32, 64, 128});
  c.granule = pick(rng, {1, 1, 32, 64});
  if (c.granule > c.page_size) c.granule = 32;
  c.bits = pick(rng, {2, 2, 4});
  c.window = pick(rng, {1, 31, 64, 64, 300});
  c.epsilon = pick(rng, {0.0f, 1e-3f, 0.01f, 0.01f, 0.05f, 0.3f});
  c.block_share = pick(rng, {0.1f, 0.5f, 1.0f});
  c.sharpness = pick(rng, {0.3f, 1.0f, 2.0f, 4.0f});
  c.dtype = pick(rng, {DType::kBF16, DType::kBF16, DType::kF16, DType::kF32});
  c.rule =
      pick(rng, {RouterRule::kMargin, RouterRule::kMargin, RouterRule::kMargin, RouterRule::kRoute,
                 RouterRule::kStreaming, RouterRule::kDense, RouterRule::kCosine});
  if (c.rule == RouterRule::kRoute && c.granule == 1) c.granule = 32;
  if (c.rule == RouterRule::kCosine) c.granule = 1;
  c.pinned = rng.below(2) == 0;
  c.flaw = rng.below(4) == 0 ? static_cast<int>(1 + rng.below(3)) : 0;
  for (int s = 0; s < c.sequences; ++s) {
    const int length = pick(rng, {0, 1, 31, 32, 33, 64, 65, 128, 511, 1024, 2048, 3001});
    c.lengths.push_back(rng.below(3) == 0 ? static_cast<int>(rng.below(2500)) : length);
  }
  return c;
}

std::string describe(const Case& c) {
  std::string lengths;
  for (int length : c.lengths) lengths += fmt::format(" {}", length);
  return fmt::format(
      "[rule {} kv {} group {} d {} {} page {} granule {} bits {} window {} eps {} share {} sharp "
      "{} pinned "
      "{} flaw {} lengths{}]",
      static_cast<int>(c.rule), c.kv_heads, c.group, c.dim, name(c.dtype), c.page_size, c.granule,
      c.bits, c.window, c.epsilon, c.block_share, c.sharpness, c.pinned ? 1 : 0, c.flaw, lengths);
}

void put(std::vector<std::uint8_t>& data, DType dtype, std::int64_t index, float x) {
  visit_dtype<float, BFloat16, Float16>(dtype, [&]<typename T>() {
    const T value = from_float<T>(x);
    std::memcpy(data.data() + index * sizeof(T), &value, sizeof(T));
  });
}

std::int64_t block_index(const Case& c, const Host& h, int s, int head, int block) {
  const int per_page = c.page_size / kBlockSize;
  const std::int64_t page =
      h.table[static_cast<std::size_t>(s) * h.pages_per_sequence + block / per_page];
  return (page * c.kv_heads + head) * per_page + block % per_page;
}

Host draw_host(const Case& c, Rng& rng) {
  Host h;
  int longest = *std::max_element(c.lengths.begin(), c.lengths.end());
  h.pages_per_sequence = longest / c.page_size + 1;
  h.pages = h.pages_per_sequence * c.sequences + 2;
  h.lengths.assign(c.lengths.begin(), c.lengths.end());
  std::vector<std::int32_t> order(h.pages);
  std::iota(order.begin(), order.end(), 0);
  for (int i = h.pages - 1; i > 0; --i) std::swap(order[i], order[rng.below(i + 1)]);
  h.table.assign(order.begin(), order.begin() + h.pages_per_sequence * c.sequences);

  const std::int64_t elements = std::int64_t{h.pages} * c.kv_heads * c.page_size * c.dim;
  h.keys.resize(elements * size_in_bytes(c.dtype));
  h.values.resize(h.keys.size());
  for (std::int64_t i = 0; i < elements; ++i) {
    put(h.keys, c.dtype, i, kNaN);
    put(h.values, c.dtype, i, kNaN);
  }
  const KvView kv = h.view(c);
  const std::int64_t blocks = std::int64_t{h.pages} * c.kv_heads * (c.page_size / kBlockSize);
  h.codes.assign(blocks * 2 * c.dim, 0x7f);
  h.scales.assign(blocks, kNaN);
  h.sketch_codes.assign(blocks * (c.dim * c.bits / 32) * kBlockSize, 0xdeadbeef);
  h.sketch_scales.assign(blocks * kBlockSize, from_float<Float16>(kNaN));
  h.sketch_misses.assign(blocks * kBlockSize, from_float<Float16>(kNaN));
  h.rotation = draw_rotation(rng, c.dim);
  for (int s = 0; s < c.sequences; ++s) {
    for (int head = 0; head < c.kv_heads; ++head) {
      std::vector<float> centre(c.dim);
      const int flawed =
          c.lengths[s] > 200 ? static_cast<int>(64 + rng.below(c.lengths[s] - 130)) : -1;
      for (int t = 0; t < c.lengths[s]; ++t) {
        if (t % 32 == 0) {
          for (float& x : centre) x = rng.normal();
        }
        for (int i = 0; i < c.dim; ++i) {
          float x = c.flaw == 3 ? 0.25f : centre[i] + 0.7f * rng.normal();
          if (c.flaw == 1 && t == flawed && i == 5) x = kNaN;
          put(h.keys, c.dtype, row_offset(kv, s, head, t) + i, x);
          put(h.values, c.dtype, row_offset(kv, s, head, t) + i, rng.normal());
        }
      }
      for (int b = 0; b < c.lengths[s] / kBlockSize; ++b) {
        const std::int64_t index = block_index(c, h, s, head, b);
        BlockMomentsParams m;
        m.keys = h.keys.data() + row_offset(kv, s, head, b * kBlockSize) * size_in_bytes(c.dtype);
        m.dtype = c.dtype;
        m.token_stride = c.dim;
        m.head_dim = c.dim;
        m.codes = h.codes.data() + index * 2 * c.dim;
        m.scale = h.scales.data() + index;
        reference::block_moments(m);
        RowSketchesParams r;
        r.keys = m.keys;
        r.dtype = c.dtype;
        r.token_stride = c.dim;
        r.head_dim = c.dim;
        r.mean_codes = m.codes;
        r.mean_scale = *m.scale;
        r.rotation = h.rotation.data();
        r.bits = c.bits;
        r.codes = h.sketch_codes.data() + index * (c.dim * c.bits / 32) * kBlockSize;
        r.scales = h.sketch_scales.data() + index * kBlockSize;
        r.misses = h.sketch_misses.data() + index * kBlockSize;
        reference::row_sketches(r);
      }
    }
  }
  for (int i = 0; i < c.sequences * c.q_heads() * c.dim; ++i)
    h.queries.push_back(c.sharpness * rng.normal());
  if (c.flaw == 2) h.queries[rng.below(h.queries.size())] = kInfinity;
  h.pinned.assign(static_cast<std::size_t>(c.sequences) * c.kv_heads * 4, -7);
  h.pinned_counts.assign(static_cast<std::size_t>(c.sequences) * c.kv_heads, 0);
  for (int s = 0; s < c.sequences; ++s) {
    const int blocks_here = (c.lengths[s] + kBlockSize - 1) / kBlockSize;
    for (int head = 0; head < c.kv_heads && blocks_here > 0 && c.pinned; ++head) {
      const int g = s * c.kv_heads + head;
      h.pinned_counts[g] = static_cast<int>(rng.below(5));
      for (int i = 0; i < h.pinned_counts[g]; ++i)
        h.pinned[g * 4 + i] = static_cast<int>(rng.below(blocks_here));
    }
  }
  return h;
}

bool near(float got, float want, float tolerance) {
  if (std::isnan(want) || std::isnan(got)) return std::isnan(want) == std::isnan(got);
  if (std::isinf(want) || std::isinf(got)) return want == got;
  return std::fabs(got - want) <= tolerance * std::max(1.0f, std::fabs(want));
}

std::string entry(const char* what, std::int64_t at, double got, double want) {
  return fmt::format("{} {}: got {:.9g}, want {:.9g}", what, at, got, want);
}

}  // namespace sinkrouter::cuda_tests
