// Checks the router's kernels against the scalar reference and the CPU router on random inputs.
// Usage: router_check [cases] [first seed] [words that a case's description must hold]

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>
#include <string>

#include "base/dtype.h"
#include "base/rng.h"
#include "device_memory.h"
#include "kernels/cuda/append.h"
#include "kernels/cuda/router_step.h"
#include "kernels/params.h"
#include "kernels/reference/reference.h"
#include "router/estimates.h"
#include "router/select.h"

namespace sinkrouter::cuda {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

int failures = 0;
std::uint64_t seed_now = 0;
std::string case_now;
int reports = 0;

void fail(const char* stage, const std::string& what) {
  ++failures;
  if (++reports > 12) return;
  std::printf("FAIL seed %llu %s | %s: %s\n", static_cast<unsigned long long>(seed_now),
              case_now.c_str(), stage, what.c_str());
}

struct Case {
  int sequences;
  int kv_heads;
  int group;
  int dim;
  int page_size;
  int granule;
  int bits;
  int window;
  float epsilon;
  float block_share;
  float sharpness;  // of queries
  DType dtype;
  RouterRule rule;
  bool pinned;
  int flaw;  // 0 none, 1 NaN key in a described block, 2 infinite query, 3 all keys alike
  std::vector<int> lengths;

  int q_heads() const { return kv_heads * group; }
};

template <typename T>
T pick(Rng& rng, std::initializer_list<T> values) {
  return *(values.begin() + rng.below(values.size()));
}

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

// Host side of one case: a cache with everything that describes it.
struct Host {
  std::vector<std::uint8_t> keys;  // [pages, kv_heads, page_size, dim] of the dtype
  std::vector<std::uint8_t> values;
  std::vector<std::int32_t> table;
  std::vector<std::int32_t> lengths;
  std::vector<std::uint8_t> codes;
  std::vector<float> scales;
  std::vector<std::uint32_t> sketch_codes;
  std::vector<Float16> sketch_scales;
  std::vector<Float16> sketch_misses;
  std::vector<float> rotation;
  std::vector<float> queries;
  std::vector<std::int32_t> pinned;  // [sequences, kv_heads, 4]
  std::vector<std::int32_t> pinned_counts;
  int pages = 0;
  int pages_per_sequence = 0;

  KvView view(const Case& c) const {
    KvView kv;
    kv.keys = keys.data();
    kv.values = values.data();
    kv.dtype = c.dtype;
    kv.token_stride = c.dim;
    kv.head_stride = std::int64_t{c.page_size} * c.dim;
    kv.page_stride = kv.head_stride * c.kv_heads;
    kv.page_size = c.page_size;
    kv.kv_heads = c.kv_heads;
    kv.head_dim = c.dim;
    kv.sequences = c.sequences;
    kv.page_table = table.data();
    kv.page_table_stride = pages_per_sequence;
    kv.lengths = lengths.data();
    return kv;
  }
  MomentsView moments() const { return {codes.data(), scales.data()}; }
  SketchView sketches(const Case& c) const {
    return {c.bits, sketch_codes.data(), sketch_scales.data(), sketch_misses.data(),
            rotation.data()};
  }
};

void put(std::vector<std::uint8_t>& data, DType dtype, std::int64_t index, float x) {
  visit_dtype<float, BFloat16, Float16>(dtype, [&]<typename T>() {
    const T value = from_float<T>(x);
    std::memcpy(data.data() + index * sizeof(T), &value, sizeof(T));
  });
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

// What one q head must and may have on its list, for a rule that is right up to rounding.
struct Range {
  bool unknown = false;
  std::vector<bool> must;
  std::vector<bool> may;
  bool must_any = false;
  bool may_any = false;
  double left = 0;  // log
};

int chosen(const std::vector<float>& v, const std::vector<int>& order, double kept, double left,
           double epsilon, double reference, double& rest) {
  double total = 0;
  for (float x : v) total += std::exp(std::max<double>(x - reference, -87.0));
  const double l = std::exp(left - reference);
  const double allowed = epsilon * (std::exp(kept - reference) + l + total) - l;
  rest = total;
  int n = 0;
  while (n < static_cast<int>(order.size()) && rest > allowed) {
    // Added up from the small end, so that no digits are lost where it matters.
    rest -= std::exp(std::max<double>(v[order[n++]] - reference, -87.0));
    if (n % 64 == 0) {
      rest = 0;
      for (std::size_t i = n; i < order.size(); ++i)
        rest += std::exp(std::max<double>(v[order[i]] - reference, -87.0));
    }
  }
  if (n == static_cast<int>(order.size())) rest = 0;
  return n;
}

Range range_of(const std::vector<float>& v, float kept, float left, float epsilon) {
  Range range;
  const int n = static_cast<int>(v.size());
  range.must.assign(n, false);
  range.may.assign(n, false);
  double reference = std::max(kept, left);
  bool nan = std::isnan(kept) || std::isnan(left);
  for (float x : v) {
    nan = nan || std::isnan(x);
    reference = std::max<double>(reference, x);
  }
  range.unknown = nan || std::isinf(reference) || !(epsilon > 0);
  if (range.unknown) return range;
  std::vector<int> order(n);
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(),
            [&](int a, int b) { return v[a] != v[b] ? v[a] > v[b] : a < b; });
  constexpr double kSlack = 2e-3;
  double rest = 0;
  const int fewest = chosen(v, order, kept, left, epsilon * (1 + kSlack), reference, rest);
  const int most = chosen(v, order, kept, left, epsilon * (1 - kSlack), reference, rest);
  chosen(v, order, kept, left, epsilon, reference, rest);
  range.left = reference + std::log(rest);
  range.must_any = fewest > 0;
  range.may_any = most > 0;
  for (int i = 0; i < n; ++i) {
    if (fewest > 0 && v[i] > v[order[fewest - 1]] + 1e-4f) range.must[i] = true;
    if (most > 0 && v[i] >= v[order[most - 1]] - 1e-4f) range.may[i] = true;
  }
  // Among equals the lower index comes first, or all come.
  return range;
}

std::string entry(const char* what, std::int64_t at, double got, double want) {
  return fmt::format("{} {}: got {:.9g}, want {:.9g}", what, at, got, want);
}

void check_router(const Case& c, const Host& h) {
  const int longest = *std::max_element(c.lengths.begin(), c.lengths.end());
  RouterLimits limits{c.sequences,   c.q_heads(), c.kv_heads, c.dim,
                      longest + 100, c.window,    c.granule};
  // Rows that nothing may read are not numbers.
  std::vector<std::uint8_t> keys = h.keys;
  const KvView kv = h.view(c);
  const int kept_granule = std::max(c.granule, kBlockSize);
  std::vector<std::vector<int>> kept_lists;
  for (int s = 0; s < c.sequences; ++s) {
    for (int head = 0; head < c.kv_heads; ++head) {
      const int g = s * c.kv_heads + head;
      const KeptSet kept =
          make_kept_set(c.lengths[s], kept_granule, c.window,
                        {&h.pinned[g * 4], static_cast<std::size_t>(h.pinned_counts[g])});
      std::vector<int> list(kept.granules + 1);
      list.resize(write_kept_list(kept, list.data()));
      for (int t = c.rule == RouterRule::kCosine ? 1 : 0; t < c.lengths[s]; ++t) {
        if (!std::binary_search(list.begin(), list.end(), t / kept_granule)) {
          for (int i = 0; i < c.dim; ++i) put(keys, c.dtype, row_offset(kv, s, head, t) + i, kNaN);
        }
      }
      kept_lists.push_back(list);
    }
  }
  DeviceArray<std::uint8_t> d_keys(keys);
  DeviceArray<std::int32_t> d_table(h.table);
  DeviceArray<std::int32_t> d_lengths(h.lengths);
  DeviceArray<std::uint8_t> d_codes(h.codes);
  DeviceArray<float> d_scales(h.scales);
  DeviceArray<std::uint32_t> d_sketch_codes(h.sketch_codes);
  DeviceArray<Float16> d_sketch_scales(h.sketch_scales);
  DeviceArray<float> d_rotation(h.rotation);
  DeviceArray<float> d_queries(h.queries);
  DeviceArray<std::int32_t> d_pinned(h.pinned);
  DeviceArray<std::int32_t> d_pinned_counts(h.pinned_counts);
  const int groups = c.sequences * c.kv_heads;
  const int heads = c.sequences * c.q_heads();
  const std::int64_t capacity = (longest + c.granule - 1) / c.granule + 1;
  DeviceArray<std::int32_t> d_lists(groups * capacity);
  DeviceArray<std::int32_t> d_counts(groups);
  DeviceArray<std::uint8_t> d_routed(groups);
  DeviceArray<std::byte> d_work(router_workspace_bytes(limits));

  RouterStep step;
  step.rule = c.rule;
  step.queries = d_queries.data();
  step.q_heads = c.q_heads();
  step.scale = 1.0f / std::sqrt(static_cast<float>(c.dim));
  step.kv = kv;
  step.kv.keys = d_keys.data();
  step.kv.values = nullptr;
  step.kv.page_table = d_table.data();
  step.kv.lengths = d_lengths.data();
  step.moments = {d_codes.data(), d_scales.data()};
  step.sketches = {c.bits, d_sketch_codes.data(), d_sketch_scales.data(), nullptr,
                   d_rotation.data()};
  step.pinned = {d_pinned.data(), d_pinned_counts.data(), 4};
  step.window = c.window;
  step.epsilon = c.epsilon;
  step.block_share = c.block_share;
  step.kept_units = kept_units(limits);
  step.workspace = router_workspace(limits, d_work.data());
  step.lists = {d_lists.data(), d_counts.data(), capacity, c.granule};
  step.routed = d_routed.data();
  const RouterWorkspace& work = step.workspace;
  require(cudaMemset(work.arrivals, 0, sizeof(std::uint32_t) * 2 * groups), "arrivals");
  const bool rows = c.granule < kBlockSize;
  const bool by_mass = c.rule == RouterRule::kMargin || c.rule == RouterRule::kRoute;

  const auto sync = [&](const char* stage, cudaError_t error) {
    if (error == cudaSuccess) error = cudaDeviceSynchronize();
    if (error != cudaSuccess) {
      std::printf("FATAL seed %llu %s | %s: %s\n", static_cast<unsigned long long>(seed_now),
                  case_now.c_str(), stage, cudaGetErrorString(error));
      std::exit(3);
    }
  };
  const auto fetch = [&]<typename T>(const T* from, std::int64_t count) {
    std::vector<T> result(count);
    require(cudaMemcpy(result.data(), from, count * sizeof(T), cudaMemcpyDeviceToHost), "fetch");
    return result;
  };
  const auto check_guards = [&](const char* stage) {
    for (const bool good :
         {d_keys.guarded(), d_lists.guarded(), d_counts.guarded(), d_routed.guarded(),
          d_work.guarded(), d_codes.guarded(), d_scales.guarded(), d_queries.guarded()}) {
      if (!good) fail(stage, "bytes around a buffer were written");
    }
  };

  // What tier 0 chose from, and what was chosen.
  std::vector<float> scores;
  std::vector<float> kept_lse;
  std::vector<float> left;
  std::vector<std::uint8_t> needs;
  std::vector<std::int32_t> block_counts(groups, 0);
  std::vector<std::int32_t> blocks;
  std::vector<float> row_scores;
  if (by_mass) {
    sync("tier0", launch_tier0(step, limits, nullptr));
    check_guards("tier0");
    scores = fetch(work.scores, heads * work.block_stride);
    std::vector<float> want(scores.size(), 0.0f);
    BlockScoresParams p{h.queries.data(), c.q_heads(), step.scale,       kv,
                        h.moments(),      want.data(), work.block_stride};
    reference::block_scores(p);
    float worst = 0;
    for (int head = 0; head < heads; ++head) {
      const int s = head / c.q_heads();
      for (int b = 0; b < c.lengths[s] / kBlockSize; ++b) {
        const std::int64_t at = head * work.block_stride + b;
        // +inf and NaN mean the same: nothing can be said.
        const bool unusable = !(want[at] < kInfinity) && !(scores[at] < kInfinity);
        if (!unusable && !near(scores[at], want[at], 1e-3f)) {
          fail("tier0 scores",
               entry(fmt::format("head {} block", head).c_str(), b, scores[at], want[at]));
        } else if (!unusable) {
          worst = std::max(worst,
                           std::fabs(scores[at] - want[at]) / std::max(1.0f, std::fabs(want[at])));
        }
      }
    }
    (void)worst;
    std::vector<float> want_lse(heads);
    std::vector<std::int32_t> list_memory(static_cast<std::size_t>(groups) * (longest / 32 + 2));
    std::vector<std::int32_t> list_counts;
    for (int g = 0; g < groups; ++g) {
      std::copy(kept_lists[g].begin(), kept_lists[g].end(),
                list_memory.begin() + g * (longest / 32 + 2));
      list_counts.push_back(static_cast<int>(kept_lists[g].size()));
    }
    DecodeAttentionParams a;
    a.queries = h.queries.data();
    a.q_heads = c.q_heads();
    a.scale = step.scale;
    a.kv = kv;
    a.lists = {list_memory.data(), list_counts.data(), longest / 32 + 2, kept_granule};
    a.lse = want_lse.data();
    reference::decode_attention(a);

    sync("select_blocks", launch_select_blocks(step, limits, nullptr));
    check_guards("select_blocks");
    kept_lse = fetch(work.kept_lse, heads);
    left = fetch(work.left, heads);
    needs = fetch(work.needs, heads);
    for (int head = 0; head < heads; ++head) {
      const bool unusable = !(want_lse[head] < kInfinity) && !(kept_lse[head] < kInfinity);
      if (!unusable && !near(kept_lse[head], want_lse[head], 1e-4f)) {
        fail("kept lse", entry("head", head, kept_lse[head], want_lse[head]));
      }
    }
    if (rows) {
      block_counts = fetch(work.block_counts, groups);
      blocks = fetch(work.blocks, groups * work.block_stride);
    }
  }
  // Tier 0's selection.
  std::vector<bool> group_unknown(groups, false);
  std::int64_t listed_total = 0;
  for (int g = 0; g < groups && by_mass; ++g) {
    const int s = g / c.kv_heads;
    const KeptSet kept =
        make_kept_set(c.lengths[s], kept_granule, c.window,
                      {&h.pinned[g * 4], static_cast<std::size_t>(h.pinned_counts[g])});
    const int parts = kept_granule / kBlockSize;
    const int candidates = kept.tail_begin - kept.head_end;
    std::vector<bool> must(candidates, false);
    std::vector<bool> may(candidates, false);
    bool must_any = false;
    bool may_any = false;
    bool unknown = false;
    std::vector<double> lefts;
    for (int q = 0; q < c.group; ++q) {
      const int head = s * c.q_heads() + g % c.kv_heads * c.group + q;
      std::vector<float> v(candidates);
      for (int i = 0; i < candidates; ++i) {
        const int granule = kept.head_end + i;
        const float* from = &scores[head * work.block_stride + granule * parts];
        float largest = *std::max_element(from, from + parts);
        double sum = 0;
        for (int k = 0; k < parts; ++k) sum += std::exp(double{from[k]} - largest);
        v[i] = parts == 1 ? from[0] : largest + static_cast<float>(std::log(sum));
        for (int k = 0; k < parts; ++k) {
          if (std::isnan(from[k])) v[i] = kNaN;
        }
        if (kept.contains(granule)) v[i] = -kInfinity;
      }
      const Range range =
          range_of(v, kept_lse[head], -kInfinity, c.epsilon * (rows ? c.block_share : 1.0f));
      unknown = unknown || range.unknown;
      must_any = must_any || range.must_any;
      may_any = may_any || range.may_any;
      lefts.push_back(range.left);
      for (int i = 0; i < candidates; ++i) {
        must[i] = must[i] || range.must[i];
        may[i] = may[i] || range.may[i];
      }
    }
    group_unknown[g] = unknown;
    if (rows) {
      const std::int32_t* list = &blocks[g * work.block_stride];
      const int count = block_counts[g];
      std::set<int> got(list,
                        list + std::clamp<int>(count, 0, static_cast<int>(work.block_stride)));
      if (static_cast<int>(got.size()) != count || !std::is_sorted(list, list + got.size())) {
        fail("blocks", fmt::format("group {}: not ascending, or {} entries", g, count));
        continue;
      }
      listed_total += count;
      for (int i = 0; i < candidates; ++i) {
        const int granule = kept.head_end + i;
        const bool has = got.count(granule) > 0;
        got.erase(granule);
        const bool needed = unknown || must[i] || (count > 0 && kept.contains(granule));
        const bool allowed = unknown || may[i] || kept.contains(granule);
        if (has ? !allowed : needed) {
          fail("blocks", fmt::format("group {} block {}: {} (count {}, candidates {}, unknown {})",
                                     g, granule, has ? "listed, need not be" : "missing", count,
                                     candidates, unknown));
          break;
        }
      }
      if (!got.empty())
        fail("blocks", fmt::format("group {}: entry {} is no candidate", g, *got.begin()));
      for (int q = 0; q < c.group && !unknown; ++q) {
        const int head = s * c.q_heads() + g % c.kv_heads * c.group + q;
        if (!(left[head] == -kInfinity && lefts[q] == -kInfinity) &&
            !(std::fabs(left[head] - lefts[q]) < 0.05) && c.flaw != 3 &&
            left[head] > kept_lse[head] - 60) {
          fail("left", entry("head", head, left[head], lefts[q]));
        }
      }
      // The CPU's own list.
      std::vector<float> masses(static_cast<std::size_t>(c.group) * work.block_stride);
      std::copy_n(&scores[(s * c.q_heads() + g % c.kv_heads * c.group) * work.block_stride],
                  masses.size(), masses.begin());
      std::vector<std::int32_t> cpu_list(kept.granules + 1);
      std::vector<float> cpu_left(c.group);
      std::vector<std::byte> memory(select_scratch_bytes(kept.granules + 64) + 64);
      void* aligned =
          reinterpret_cast<void*>((reinterpret_cast<std::uintptr_t>(memory.data()) + 63) / 64 * 64);
      const int cpu_count =
          select_blocks(kept,
                        {masses.data(), work.block_stride,
                         &kept_lse[s * c.q_heads() + g % c.kv_heads * c.group], c.group},
                        c.epsilon * c.block_share, aligned, cpu_list.data(), cpu_left.data());
      if (std::abs(cpu_count - count) > 2 + cpu_count / 50 && c.flaw != 3) {
        fail("blocks", fmt::format("group {}: {} blocks, the CPU takes {}", g, count, cpu_count));
      }
    } else {
      const auto lists = d_lists.get();
      const auto counts = d_counts.get();
      const auto routed = d_routed.get();
      const std::int32_t* list = &lists[g * capacity];
      const int count = counts[g];
      if (count < 0 || count > kept.granules) {
        fail("list", fmt::format("group {}: count {} of {}", g, count, kept.granules));
        continue;
      }
      std::set<int> got(list, list + count);
      if (static_cast<int>(got.size()) != count || !std::is_sorted(list, list + count)) {
        fail("list", fmt::format("group {}: not ascending", g));
        continue;
      }
      listed_total += count;
      const bool all = unknown || (c.rule == RouterRule::kRoute && must_any);
      const bool may_all = unknown || (c.rule == RouterRule::kRoute && may_any);
      for (int i = 0; i < kept.granules; ++i) {
        const bool is_kept = kept.contains(i);
        const int at = i - kept.head_end;
        const bool candidate = at >= 0 && at < candidates;
        const bool of_route = c.rule == RouterRule::kRoute;
        const bool needed = is_kept || all || (!of_route && candidate && must[at]);
        const bool allowed = is_kept || may_all || (!of_route && candidate && may[at]);
        if (got.count(i) > 0 ? !allowed : needed) {
          fail("list", fmt::format("group {} granule {}: {} (count {} of {}, unknown {})", g, i,
                                   got.count(i) > 0 ? "listed, need not be" : "missing", count,
                                   kept.granules, unknown));
          break;
        }
      }
      if ((must_any && !unknown && routed[g] != 0) || (!may_any && !unknown && routed[g] == 0)) {
        fail("routed", fmt::format("group {}: {}", g, routed[g]));
      }
    }
  }

  if (by_mass && rows) {
    sync("tier1", launch_tier1(step, limits, nullptr));
    check_guards("tier1");
    auto query_codes = fetch(work.query_codes, std::int64_t{heads} * c.dim);
    auto query_steps = fetch(work.query_steps, heads);
    std::vector<std::int8_t> want_codes(query_codes.size());
    std::vector<float> want_steps(heads);
    SketchQueriesParams sq{h.queries.data(),  h.rotation.data(), heads,  c.dim,
                           want_codes.data(), want_steps.data(), nullptr};
    reference::sketch_queries(sq);
    for (int head = 0; head < heads; ++head) {
      if (!near(query_steps[head], want_steps[head], 1e-5f)) {
        fail("query steps", entry("head", head, query_steps[head], want_steps[head]));
      }
      for (int i = 0; i < c.dim; ++i) {
        if (std::abs(query_codes[head * c.dim + i] - want_codes[head * c.dim + i]) > 1) {
          fail("query codes", entry("at", head * c.dim + i, query_codes[head * c.dim + i],
                                    want_codes[head * c.dim + i]));
          break;
        }
      }
    }
    row_scores = fetch(work.row_scores, heads * work.row_stride);
    std::vector<float> want(row_scores.size());
    RowScoresParams p;
    p.queries = h.queries.data();
    p.query_codes = query_codes.data();
    p.query_steps = query_steps.data();
    p.q_heads = c.q_heads();
    p.scale = step.scale;
    p.kv = kv;
    p.moments = h.moments();
    p.sketches = h.sketches(c);
    p.blocks = {blocks.data(), block_counts.data(), work.block_stride, kBlockSize};
    p.score_stride = work.row_stride;
    p.scores = want.data();
    reference::row_scores(p);
    for (int head = 0; head < heads; ++head) {
      const int s = head / c.q_heads();
      const int g = s * c.kv_heads + head % c.q_heads() / c.group;
      const std::set<int> kept(kept_lists[g].begin(), kept_lists[g].end());
      for (int i = 0; i < block_counts[g] * kBlockSize; ++i) {
        const std::int64_t at = head * work.row_stride + i;
        float expected = want[at];
        if (kept.count(blocks[g * work.block_stride + i / kBlockSize]) > 0) expected = -kInfinity;
        const bool unusable = !(expected < kInfinity) && !(row_scores[at] < kInfinity);
        if (!unusable && !near(row_scores[at], expected, 1e-3f)) {
          fail("tier1 scores",
               entry(fmt::format("head {} row", head).c_str(), i, row_scores[at], expected));
          break;
        }
      }
    }
    sync("select_rows", launch_select_rows(step, limits, nullptr));
    check_guards("select_rows");
    left = fetch(work.left, heads);
  }
  if (!by_mass) sync("plain lists", launch_plain_lists(step, limits, nullptr));
  check_guards("lists");

  if (rows || !by_mass) {
    const auto lists = d_lists.get();
    const auto counts = d_counts.get();
    const auto routed = d_routed.get();
    for (int g = 0; g < groups; ++g) {
      const int s = g / c.kv_heads;
      const int length = c.lengths[s];
      const int units = (length + c.granule - 1) / c.granule;
      const std::int32_t* list = &lists[g * capacity];
      const int count = counts[g];
      if (count < 0 || count > units) {
        fail("rows", fmt::format("group {}: count {} of {}", g, count, units));
        continue;
      }
      const std::set<int> got(list, list + count);
      if (static_cast<int>(got.size()) != count || !std::is_sorted(list, list + count)) {
        fail("rows", fmt::format("group {}: not ascending", g));
        continue;
      }
      std::vector<bool> must(units, false);
      std::vector<bool> may(units, false);
      bool may_any = false;
      bool must_any = false;
      const int rows_of = rows ? kBlockSize : 1;
      if (c.rule == RouterRule::kDense) {
        must.assign(units, true);
        may = must;
      } else if (c.rule == RouterRule::kCosine) {
        std::vector<float> cosines;
        for (int q = 0; q < c.group && length > 0; ++q) {
          double dot = 0, qq = 0, kk = 0;
          for (int i = 0; i < c.dim; ++i) {
            double k = 0;
            visit_dtype<float, BFloat16, Float16>(c.dtype, [&]<typename T>() {
              k = to_float(reinterpret_cast<const T*>(
                  h.keys.data())[row_offset(kv, s, g % c.kv_heads, 0) + i]);
            });
            const double x =
                h.queries[(s * c.q_heads() + g % c.kv_heads * c.group + q) * c.dim + i];
            dot += x * k, qq += x * x, kk += k * k;
          }
          cosines.push_back(static_cast<float>(dot / std::sqrt(qq * kk)));
        }
        const bool all = length == 0 || !std::all_of(cosines.begin(), cosines.end(),
                                                     [&](float x) { return x >= step.tau; });
        for (int i = 0; i < units; ++i) must[i] = all || i == 0;
        may = must;
      } else {
        for (int granule : kept_lists[g]) {
          for (int i = granule * rows_of; i < std::min((granule + 1) * rows_of, units); ++i)
            must[i] = may[i] = true;
        }
      }
      if (by_mass) {
        bool unknown = false;
        for (int q = 0; q < c.group && block_counts[g] > 0; ++q) {
          const int head = s * c.q_heads() + g % c.kv_heads * c.group + q;
          const std::vector<float> v(
              &row_scores[head * work.row_stride],
              &row_scores[head * work.row_stride] + block_counts[g] * kBlockSize);
          const Range range = range_of(v, kept_lse[head], left[head], c.epsilon);
          unknown = unknown || range.unknown;
          may_any = may_any || range.may_any;
          must_any = must_any || range.must_any;
          for (std::size_t i = 0; i < v.size(); ++i) {
            const int row = blocks[g * work.block_stride + i / kBlockSize] * kBlockSize +
                            static_cast<int>(i % kBlockSize);
            if (range.must[i]) must[row] = true;
            if (range.may[i]) may[row] = true;
          }
        }
        if (unknown) {
          must.assign(units, true);
          may = must;
        } else if ((must_any && routed[g] != 0) || (!may_any && routed[g] == 0)) {
          fail("rows routed", fmt::format("group {}: {}", g, routed[g]));
        }
      }
      listed_total += count;
      for (int i = 0; i < units; ++i) {
        if (got.count(i) > 0 ? !may[i] : must[i]) {
          fail("rows", fmt::format("group {} row {}: {} (count {} of {}, blocks {})", g, i,
                                   got.count(i) > 0 ? "listed, need not be" : "missing", count,
                                   units, block_counts[g]));
          break;
        }
      }
    }
  }

  // The whole step again, in a graph, gives the same lists.
  const auto lists_before = d_lists.get();
  const auto counts_before = d_counts.get();
  cudaStream_t stream;
  cudaGraph_t graph;
  cudaGraphExec_t instance;
  require(cudaStreamCreate(&stream), "stream");
  require(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal), "capture");
  const cudaError_t launched = launch_router(step, limits, stream);
  require(cudaStreamEndCapture(stream, &graph), "end capture");
  require(launched, "launch in capture");
  require(cudaGraphInstantiate(&instance, graph, 0), "instantiate");
  for (int repeat = 0; repeat < 3; ++repeat) require(cudaGraphLaunch(instance, stream), "graph");
  sync("graph", cudaStreamSynchronize(stream));
  const auto lists_after = d_lists.get();
  const auto counts_after = d_counts.get();
  for (int g = 0; g < groups; ++g) {
    if (counts_before[g] != counts_after[g] ||
        !std::equal(&lists_before[g * capacity],
                    &lists_before[g * capacity] + std::max(0, counts_before[g]),
                    &lists_after[g * capacity])) {
      fail("graph", fmt::format("group {}: another list, {} entries before, {} after", g,
                                counts_before[g], counts_after[g]));
    }
  }
  check_guards("graph");
  cudaGraphExecDestroy(instance);
  cudaGraphDestroy(graph);
  cudaStreamDestroy(stream);
  static int shown = 0;
  if (shown++ < 25)
    std::printf("ok-run %s: listed %lld\n", case_now.c_str(), static_cast<long long>(listed_total));
}

// Appends the host's rows in chunks, and compares the cache and what describes it.
void check_append(const Case& c, const Host& h, Rng& rng) {
  const KvView kv = h.view(c);
  DeviceArray<std::uint8_t> d_keys(h.keys.size());
  DeviceArray<std::uint8_t> d_values(h.values.size());
  DeviceArray<std::int32_t> d_table(h.table);
  DeviceArray<std::uint8_t> d_codes(h.codes.size());
  DeviceArray<float> d_scales(h.scales.size());
  DeviceArray<std::uint32_t> d_sketch_codes(h.sketch_codes.size());
  DeviceArray<Float16> d_sketch_scales(h.sketch_scales.size());
  DeviceArray<Float16> d_sketch_misses(h.sketch_misses.size());
  DeviceArray<float> d_rotation(h.rotation);
  DeviceArray<std::int32_t> d_first(c.sequences);
  // Every sequence gets the same number of tokens at a time; those that have enough sit out.
  std::vector<int> done(c.sequences, 0);
  const auto at = [&](const std::vector<std::uint8_t>& data, std::int64_t index) {
    float x = 0;
    visit_dtype<float, BFloat16, Float16>(c.dtype, [&]<typename T>() {
      x = to_float(reinterpret_cast<const T*>(data.data())[index]);
    });
    return x;
  };
  while (true) {
    int least = std::numeric_limits<int>::max();
    for (int s = 0; s < c.sequences; ++s) {
      if (done[s] < c.lengths[s]) least = std::min(least, c.lengths[s] - done[s]);
    }
    if (least == std::numeric_limits<int>::max()) break;
    const int tokens = rng.below(3) == 0
                           ? 1
                           : static_cast<int>(std::min<std::uint64_t>(least, 1 + rng.below(900)));
    std::vector<std::int32_t> first(c.sequences, -1);
    std::vector<float> new_keys(static_cast<std::size_t>(c.sequences) * tokens * c.kv_heads * c.dim,
                                kNaN);
    std::vector<float> new_values = new_keys;
    for (int s = 0; s < c.sequences; ++s) {
      if (done[s] + tokens > c.lengths[s]) continue;
      first[s] = done[s];
      for (int t = 0; t < tokens; ++t) {
        for (int head = 0; head < c.kv_heads; ++head) {
          for (int i = 0; i < c.dim; ++i) {
            const std::size_t to =
                ((static_cast<std::size_t>(s) * tokens + t) * c.kv_heads + head) * c.dim + i;
            new_keys[to] = at(h.keys, row_offset(kv, s, head, done[s] + t) + i);
            new_values[to] = at(h.values, row_offset(kv, s, head, done[s] + t) + i);
          }
        }
      }
      done[s] += tokens;
    }
    DeviceArray<float> d_new_keys(new_keys);
    DeviceArray<float> d_new_values(new_values);
    d_first.set(first);
    AppendParams p;
    p.keys = d_new_keys.data();
    p.values = d_new_values.data();
    p.tokens = tokens;
    p.first_positions = d_first.data();
    p.kv = kv;
    p.kv.keys = d_keys.data();
    p.kv.values = d_values.data();
    p.kv.page_table = d_table.data();
    p.kv.lengths = nullptr;
    p.moment_codes = d_codes.data();
    p.moment_scales = d_scales.data();
    p.sketch_bits = c.bits;
    p.sketch_codes = d_sketch_codes.data();
    p.sketch_scales = d_sketch_scales.data();
    p.sketch_misses = d_sketch_misses.data();
    p.rotation = d_rotation.data();
    const cudaError_t error = launch_append(p, nullptr);
    require(error, "append");
    require(cudaDeviceSynchronize(), "append");
  }
  for (const bool good :
       {d_keys.guarded(), d_values.guarded(), d_codes.guarded(), d_scales.guarded(),
        d_sketch_codes.guarded(), d_sketch_scales.guarded(), d_sketch_misses.guarded()}) {
    if (!good) fail("append", "bytes around a buffer were written");
  }
  const auto keys = d_keys.get();
  const auto values = d_values.get();
  const auto codes = d_codes.get();
  const auto scales = d_scales.get();
  const auto sketch_codes = d_sketch_codes.get();
  const auto sketch_scales = d_sketch_scales.get();
  const auto sketch_misses = d_sketch_misses.get();
  const std::size_t row_bytes = c.dim * size_in_bytes(c.dtype);
  std::int64_t differing = 0, compared = 0;
  for (int s = 0; s < c.sequences; ++s) {
    for (int head = 0; head < c.kv_heads; ++head) {
      for (int t = 0; t < c.lengths[s]; ++t) {
        const std::size_t offset = row_offset(kv, s, head, t) * size_in_bytes(c.dtype);
        const bool flawed = c.flaw == 1;  // the bits of a NaN may differ
        if (!flawed && (std::memcmp(&keys[offset], &h.keys[offset], row_bytes) != 0 ||
                        std::memcmp(&values[offset], &h.values[offset], row_bytes) != 0)) {
          fail("append rows", fmt::format("sequence {} head {} row {} differs", s, head, t));
          break;
        }
      }
      for (int b = 0; b < c.lengths[s] / kBlockSize; ++b) {
        const std::int64_t index = block_index(c, h, s, head, b);
        if (!(std::fabs(scales[index] - h.scales[index]) <= 1e-5f * std::fabs(h.scales[index])) &&
            !(std::isnan(scales[index]) && std::isnan(h.scales[index]))) {
          fail("append moment scale", entry("block", b, scales[index], h.scales[index]));
        }
        if (std::isnan(h.scales[index])) continue;
        bool same_mean = true;
        for (int i = 0; i < 2 * c.dim; ++i) {
          ++compared;
          const int got = codes[index * 2 * c.dim + i];
          const int want = h.codes[index * 2 * c.dim + i];
          differing += got != want;
          same_mean = same_mean && (i >= c.dim || got == want);
          const int apart =
              (got & 0x80) == (want & 0x80) ? std::abs(got - want) : (got & 0x7f) + (want & 0x7f);
          if (apart > 1) {
            fail("append moment codes", entry(fmt::format("block {} at", b).c_str(), i, got, want));
            break;
          }
        }
        const int words = c.dim * c.bits / 32;
        for (int r = 0; r < kBlockSize; ++r) {
          // The sketch of this mean: within a code where rounding decides, else the same.
          int off = 0;
          for (int w = 0; w < words; ++w) {
            const std::uint32_t got = sketch_codes[(index * words + w) * kBlockSize + r];
            const std::uint32_t want = h.sketch_codes[(index * words + w) * kBlockSize + r];
            for (int k = 0; k < 32; k += c.bits) {
              const int mask = (1 << c.bits) - 1;
              off +=
                  std::abs(static_cast<int>(got >> k & mask) - static_cast<int>(want >> k & mask));
            }
          }
          ++compared;
          differing += off > 0;
          if (off > (same_mean ? 3 : 24) && c.flaw != 3) {
            fail("append sketch codes", fmt::format("block {} row {}: {} codes off", b, r, off));
            break;
          }
          const float got = to_float(sketch_scales[index * kBlockSize + r]);
          const float want = to_float(h.sketch_scales[index * kBlockSize + r]);
          if (std::isnan(got) != std::isnan(want) ||
              std::fabs(got - want) > (same_mean ? 4e-3f : 4e-2f) * std::fabs(want) + 1e-6f) {
            fail("append sketch scale",
                 entry(fmt::format("block {} row", b).c_str(), r, got, want));
            break;
          }
          const float miss = to_float(sketch_misses[index * kBlockSize + r]);
          const float want_miss = to_float(h.sketch_misses[index * kBlockSize + r]);
          if (off == 0 && same_mean &&
              !(miss >= want_miss * 0.9995f && miss <= want_miss * 1.01f + 1e-2f) &&
              !(std::isnan(miss) && std::isnan(want_miss))) {
            fail("append sketch miss",
                 entry(fmt::format("block {} row", b).c_str(), r, miss, want_miss));
            break;
          }
        }
      }
    }
  }
  // Keys that are all alike leave nothing but rounding to sketch.
  if (c.flaw != 3 && differing * 200 > compared)
    fail("append", fmt::format("{} of {} codes differ", differing, compared));
}

int run(int cases, std::uint64_t first_seed, const std::string& words) {
  for (int i = 0; i < cases; ++i) {
    seed_now = first_seed + i;
    Rng rng(seed_now);
    const Case c = draw_case(rng);
    case_now = describe(c);
    if (case_now.find(words) == std::string::npos) continue;
    const Host h = draw_host(c, rng);
    reports = 0;
    check_append(c, h, rng);
    check_router(c, h);
    std::fflush(stdout);
  }
  std::printf("%d cases, %d failures\n", cases, failures);
  return failures == 0 ? 0 : 1;
}

}  // namespace
}  // namespace sinkrouter::cuda

int main(int argc, char** argv) {
  const int cases = argc > 1 ? std::atoi(argv[1]) : 200;
  const std::uint64_t seed = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1;
  return sinkrouter::cuda::run(cases, seed, argc > 3 ? argv[3] : "");
}
