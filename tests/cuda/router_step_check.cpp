#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <set>

#include "bin_check.h"
#include "device_array.h"
#include "kernels/cuda/select_shape.h"
#include "kernels/params.h"
#include "kernels/reference/reference.h"
#include "mass_range.h"
#include "router/estimates.h"
#include "router/select.h"
#include "router_checks.h"

namespace sinkrouter::cuda_tests {
void check_router(const Case& c, const Host& h, Report& report) {
  const int longest = *std::max_element(c.lengths.begin(), c.lengths.end());
  cuda::RouterLimits limits{c.sequences,   c.q_heads(), c.kv_heads, c.dim,
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
  DeviceArray<std::byte> d_work(cuda::router_workspace_bytes(limits));

  cuda::RouterStep step;
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
  step.kept_units = cuda::kept_units(limits);
  step.workspace = cuda::router_workspace(limits, d_work.data());
  step.lists = {d_lists.data(), d_counts.data(), capacity, c.granule};
  step.routed = d_routed.data();
  const cuda::RouterWorkspace& work = step.workspace;
  cuda::clear_router_workspace(limits, work, nullptr);
  const bool rows = c.granule < kBlockSize;
  const bool by_mass = c.rule == RouterRule::kMargin || c.rule == RouterRule::kRoute;

  const auto sync = [&](const char* stage) { cuda::check(cudaDeviceSynchronize(), stage); };
  const auto fetch = [&]<typename T>(const T* from, std::int64_t count) {
    std::vector<T> result(count);
    cuda::check(cudaMemcpy(result.data(), from, count * sizeof(T), cudaMemcpyDeviceToHost),
                "fetch");
    return result;
  };
  const auto check_guards = [&](const char* stage) {
    for (const bool good :
         {d_keys.guarded(), d_lists.guarded(), d_counts.guarded(), d_routed.guarded(),
          d_work.guarded(), d_codes.guarded(), d_scales.guarded(), d_queries.guarded()}) {
      if (!good) report.fail(stage, "bytes around a buffer were written");
    }
  };

  // What tier 0 chose from, and what was chosen.
  std::vector<float> scores;
  std::vector<float> kept_lse;
  std::vector<float> left;
  std::vector<float> references;
  std::vector<std::int32_t> block_counts(groups, 0);
  std::vector<std::int32_t> blocks;
  std::vector<float> row_scores;
  const int slots = cuda::head_slots(c.group);
  if (by_mass) {
    cuda::launch_tier0(step, limits, nullptr);
    sync("tier0");
    check_guards("tier0");
    scores.assign(heads * work.block_stride, 0.0f);
    references = fetch(work.references, heads);
    BlockScoresParams p{h.queries.data(), c.q_heads(),   step.scale,       kv,
                        h.moments(),      scores.data(), work.block_stride};
    reference::block_scores(p);
    check_granule_bins(c, h, scores, references,
                       fetch(work.bins, groups * work.block_stride * slots), work.block_stride,
                       report);
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

    cuda::launch_select_granules(step, limits, nullptr);
    sync("select granules");
    check_guards("select granules");
    kept_lse = fetch(work.kept_lse, heads);
    left = fetch(work.left, heads);
    for (int head = 0; head < heads; ++head) {
      const bool unusable = !(want_lse[head] < kInfinity) && !(kept_lse[head] < kInfinity);
      if (!unusable && !near(kept_lse[head], want_lse[head], 1e-4f)) {
        report.fail("kept lse", entry("head", head, kept_lse[head], want_lse[head]));
      }
    }
    if (rows) {
      block_counts = fetch(work.block_counts, groups);
      blocks = fetch(work.blocks, groups * work.block_stride);
    }
  }
  // Tier 0's selection.
  std::vector<bool> group_unknown(groups, false);
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
      const Range range = range_of(v, kept_lse[head], -kInfinity,
                                   c.epsilon * (rows ? c.block_share : 1.0f), references[head]);
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
        report.fail("blocks", fmt::format("group {}: not ascending, or {} entries", g, count));
        continue;
      }
      int beyond_kept = count;
      for (int granule = 0; granule < kept.granules; ++granule) {
        const int i = granule - kept.head_end;
        const bool candidate = i >= 0 && i < candidates;
        const bool has = got.count(granule) > 0;
        got.erase(granule);
        beyond_kept -= kept.contains(granule) ? 1 : 0;
        const bool needed = unknown || kept.contains(granule) || (candidate && must[i]);
        const bool allowed = unknown || kept.contains(granule) || (candidate && may[i]);
        if (has ? !allowed : needed) {
          report.fail(
              "blocks",
              fmt::format("group {} block {}: {} (count {}, candidates {}, unknown {})", g, granule,
                          has ? "listed, need not be" : "missing", count, candidates, unknown));
          break;
        }
      }
      if (!got.empty())
        report.fail("blocks", fmt::format("group {}: entry {} is no candidate", g, *got.begin()));
      for (int q = 0; q < c.group && !unknown; ++q) {
        const int head = s * c.q_heads() + g % c.kv_heads * c.group + q;
        // No less than what the blocks that are not listed have, and no more than epsilon allows.
        if (candidates > 0 && !(left[head] < kInfinity)) {
          report.fail("left", entry("head", head, left[head], lefts[q]));
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
      const auto cpu_count = [&](float epsilon) {
        const int taken =
            select_blocks(kept,
                          {masses.data(), work.block_stride,
                           &kept_lse[s * c.q_heads() + g % c.kv_heads * c.group], c.group},
                          epsilon, aligned, cpu_list.data(), cpu_left.data());
        int of_kept = 0;
        for (int i = 0; i < taken; ++i) of_kept += kept.contains(cpu_list[i]) ? 1 : 0;
        return taken - of_kept;
      };
      const float of_blocks = c.epsilon * c.block_share;
      const int least = cpu_count(of_blocks * 1.005f);
      if (beyond_kept < least && !unknown && c.flaw != 3) {
        report.fail("blocks",
                    fmt::format("group {}: {} blocks, the CPU takes {}", g, beyond_kept, least));
      }
    } else {
      const auto lists = d_lists.get();
      const auto counts = d_counts.get();
      const auto routed = d_routed.get();
      const std::int32_t* list = &lists[g * capacity];
      const int count = counts[g];
      if (count < 0 || count > kept.granules) {
        report.fail("list", fmt::format("group {}: count {} of {}", g, count, kept.granules));
        continue;
      }
      std::set<int> got(list, list + count);
      if (static_cast<int>(got.size()) != count || !std::is_sorted(list, list + count)) {
        report.fail("list", fmt::format("group {}: not ascending", g));
        continue;
      }
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
          report.fail("list", fmt::format("group {} granule {}: {} (count {} of {}, unknown {})", g,
                                          i, got.count(i) > 0 ? "listed, need not be" : "missing",
                                          count, kept.granules, unknown));
          break;
        }
      }
      if ((must_any && !unknown && routed[g] != 0) || (!may_any && !unknown && routed[g] == 0)) {
        report.fail("routed", fmt::format("group {}: {}", g, routed[g]));
      }
    }
  }

  if (by_mass && rows) {
    cuda::launch_tier1(step, limits, nullptr);
    sync("tier1");
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
        report.fail("query steps", entry("head", head, query_steps[head], want_steps[head]));
      }
      for (int i = 0; i < c.dim; ++i) {
        if (std::abs(query_codes[head * c.dim + i] - want_codes[head * c.dim + i]) > 1) {
          report.fail("query codes", entry("at", head * c.dim + i, query_codes[head * c.dim + i],
                                           want_codes[head * c.dim + i]));
          break;
        }
      }
    }
    row_scores.assign(heads * work.row_stride, 0.0f);
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
    p.scores = row_scores.data();
    reference::row_scores(p);
    check_row_bins(c, row_scores, references,
                   fetch(work.row_bins, groups * work.row_stride * slots),
                   {blocks, block_counts, kept_lists, work.block_stride}, report);
    cuda::launch_select_rows(step, limits, nullptr);
    sync("select_rows");
    check_guards("select_rows");
    left = fetch(work.left, heads);
  }
  if (!by_mass) cuda::launch_plain_lists(step, limits, nullptr);
  sync("plain lists");
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
        report.fail("rows", fmt::format("group {}: count {} of {}", g, count, units));
        continue;
      }
      const std::set<int> got(list, list + count);
      if (static_cast<int>(got.size()) != count || !std::is_sorted(list, list + count)) {
        report.fail("rows", fmt::format("group {}: not ascending", g));
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
          const Range range = range_of(v, kept_lse[head], left[head], c.epsilon, references[head]);
          unknown = unknown || range.unknown;
          may_any = may_any || range.may_any;
          must_any = must_any || range.must_any;
          for (std::size_t i = 0; i < v.size(); ++i) {
            const int row = blocks[g * work.block_stride + i / kBlockSize] * kBlockSize +
                            static_cast<int>(i % kBlockSize);
            if (row >= units) continue;
            if (range.must[i]) must[row] = true;
            if (range.may[i]) may[row] = true;
          }
        }
        if (unknown) {
          must.assign(units, true);
          may = must;
        } else if ((must_any && routed[g] != 0) || (!may_any && routed[g] == 0)) {
          report.fail("rows routed", fmt::format("group {}: {}", g, routed[g]));
        }
      }
      for (int i = 0; i < units; ++i) {
        if (got.count(i) > 0 ? !may[i] : must[i]) {
          report.fail("rows", fmt::format("group {} row {}: {} (count {} of {}, blocks {})", g, i,
                                          got.count(i) > 0 ? "listed, need not be" : "missing",
                                          count, units, block_counts[g]));
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
  cuda::check(cudaStreamCreate(&stream), "stream");
  cuda::check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal), "capture");
  cuda::launch_router(step, limits, stream);
  cuda::check(cudaStreamEndCapture(stream, &graph), "end capture");
  cuda::check(cudaGraphInstantiate(&instance, graph, 0), "instantiate");
  for (int repeat = 0; repeat < 3; ++repeat)
    cuda::check(cudaGraphLaunch(instance, stream), "graph");
  cuda::check(cudaStreamSynchronize(stream), "graph");
  const auto lists_after = d_lists.get();
  const auto counts_after = d_counts.get();
  for (int g = 0; g < groups; ++g) {
    if (counts_before[g] != counts_after[g] ||
        !std::equal(&lists_before[g * capacity],
                    &lists_before[g * capacity] + std::max(0, counts_before[g]),
                    &lists_after[g * capacity])) {
      report.fail("graph", fmt::format("group {}: another list, {} entries before, {} after", g,
                                       counts_before[g], counts_after[g]));
    }
  }
  check_guards("graph");
  cudaGraphExecDestroy(instance);
  cudaGraphDestroy(graph);
  cudaStreamDestroy(stream);
}

}  // namespace sinkrouter::cuda_tests
