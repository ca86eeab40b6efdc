// Times the router and attention over what it lists beside dense attention, in CUDA graphs, on a
// synthetic cache for which it lists a given share of candidates and of rows.
//
//   sr_bench_router --help

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <nlohmann/json.hpp>
#include <numeric>
#include <vector>

#include "base/check.h"
#include "base/rng.h"
#include "device_memory.h"
#include "graph_timer.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/read_memory.h"
#include "kernels/cuda/routed_attention.h"
#include "program.h"
#include "router_pool.h"

namespace sinkrouter::gpu_bench {
namespace {

constexpr int kQHeads = 32;
constexpr int kWindow = 64;
constexpr double kRowShare = 0.05;
constexpr double kBlockShare = 0.15;
constexpr float kSharpness = 2.4f;  // logits of rows deviate by 3.4

// Page tables and queries of their own, so that launches in a row do not meet each other's rows in
// the cache of the GPU.
struct InputSet {
  DeviceMemory page_table;
  DeviceMemory queries;
};

std::vector<float> normal_queries(Rng& rng) {
  std::vector<float> queries(kQHeads * kDim);
  for (float& q : queries) q = rng.normal();
  return queries;
}

// One context at one granule, with all that its launches need.
class Case {
 public:
  Case(const RouterPool& pool, int context, int granule, Rng& rng)
      : pool_(pool),
        limits_{1, kQHeads, kKvHeads, kDim, context, kWindow, granule},
        sets_count_(static_cast<int>(std::min<std::int64_t>(kPoolTokens / context, 16))),
        lengths_(std::vector<std::int32_t>(1, context)),
        every_(every_granule(context)),
        lists_(std::int64_t{kKvHeads} * (context / granule) * 4),
        counts_(std::vector<std::int32_t>(kKvHeads, context / kPage)),
        routed_(kKvHeads),
        work_(cuda::router_workspace_bytes(limits_)),
        output_(kQHeads * kRowBytes),
        lse_(kQHeads * 4),
        grid_(cuda::decode_grid(DType::kBF16, kDim)) {
    std::vector<std::int32_t> pages(kPoolTokens / kPage);
    std::iota(pages.begin(), pages.end(), 0);
    for (std::size_t i = pages.size() - 1; i > 0; --i) std::swap(pages[i], pages[rng.below(i + 1)]);
    const int each = context / kPage;
    for (int set = 0; set < sets_count_; ++set) {
      sets_.push_back({DeviceMemory(std::vector<std::int32_t>(pages.begin() + set * each,
                                                              pages.begin() + (set + 1) * each)),
                       DeviceMemory(normal_queries(rng))});
    }
    dense_counts_ = DeviceMemory(std::vector<std::int32_t>(kKvHeads, context / kPage));
    attention_workspace_ = DeviceMemory(cuda::decode_workspace(attention(0, step(0)), grid_));
    cuda::check(cudaMemset(attention_workspace_.as<void>(), 0, attention_workspace_.bytes()),
                "workspace");
    cuda::clear_router_workspace(limits_, step(0).workspace, nullptr);
  }

  cuda::RouterStep step(int set) const {
    cuda::RouterStep step;
    step.queries = sets_[set].queries.as<float>();
    step.q_heads = kQHeads;
    step.scale = kSharpness / std::sqrt(static_cast<float>(kDim));
    step.kv = pool_.view();
    step.kv.page_table = sets_[set].page_table.as<std::int32_t>();
    step.kv.page_table_stride = limits_.length / kPage;
    step.kv.lengths = lengths_.as<std::int32_t>();
    step.moments = pool_.moments();
    step.sketches = pool_.sketches();
    step.window = kWindow;
    step.epsilon = epsilon;
    step.block_share = block_share;
    step.kept_units = cuda::kept_units(limits_);
    step.workspace = cuda::router_workspace(limits_, work_.as<void>());
    step.lists = {lists_.as<std::int32_t>(), counts_.as<std::int32_t>(),
                  limits_.length / limits_.granule, limits_.granule};
    step.routed = routed_.as<std::uint8_t>();
    return step;
  }
  cuda::DecodeParams attention(int set, const cuda::RouterStep& step) const {
    cuda::DecodeParams params;
    params.queries = sets_[set].queries.as<void>();
    params.query_dtype = DType::kF32;
    params.output = output_.as<void>();
    params.output_dtype = DType::kBF16;
    params.lse = lse_.as<float>();
    params.workspace = attention_workspace_.as<void>();
    params.workspace_bytes = attention_workspace_.bytes();
    params.q_heads = step.q_heads;
    params.scale = step.scale;
    params.kv = step.kv;
    params.lists = step.lists;
    return params;
  }
  void attend_densely(int set, cudaStream_t stream) const {
    cuda::DecodeParams params = attention(set, step(set));
    params.lists = {every_.as<std::int32_t>(), dense_counts_.as<std::int32_t>(),
                    limits_.length / kPage, kPage};
    cuda::decode_attention(params, grid_, stream);
  }
  void attend_lists(int set, cudaStream_t stream) const {
    cuda::decode_attention(attention(set, step(set)), grid_, stream);
  }
  void route_and_attend(int set, cudaStream_t stream) const {
    const cuda::RouterStep routed = step(set);
    cuda::launch_routed_attention(routed, limits_, attention(set, routed), grid_, stream);
  }

  // Median microseconds of one call of launch(set, stream), going round the sets.
  template <typename Launch>
  double time(double expected_us, Launch&& launch) const {
    const int launches = std::clamp(static_cast<int>(4000 / expected_us), 2 * sets_count_, 200);
    return time_in_graph(launches,
                         [&](int i, cudaStream_t stream) { launch(i % sets_count_, stream); })
        .median_us;
  }

  double share_listed() const {
    return mean(counts_.as<std::int32_t>(), limits_.length / granule());
  }
  double share_of_blocks() const {
    return mean(step(0).workspace.block_counts, limits_.length / kBlockSize);
  }
  int granule() const { return limits_.granule; }
  const cuda::RouterLimits& limits() const { return limits_; }

  float epsilon = 0.5f;
  float block_share = 1.0f;

 private:
  static std::vector<std::int32_t> every_granule(int context) {
    std::vector<std::int32_t> all;
    for (int i = 0; i < kKvHeads * (context / kPage); ++i) all.push_back(i % (context / kPage));
    return all;
  }
  static double mean(const std::int32_t* counts, double of) {
    std::vector<std::int32_t> host(kKvHeads);
    cuda::check(cudaDeviceSynchronize(), "router");
    cuda::check(cudaMemcpy(host.data(), counts, kKvHeads * 4, cudaMemcpyDeviceToHost), "counts");
    return std::accumulate(host.begin(), host.end(), 0.0) / kKvHeads / of;
  }

  const RouterPool& pool_;
  cuda::RouterLimits limits_;
  int sets_count_;
  std::vector<InputSet> sets_;
  DeviceMemory lengths_;
  DeviceMemory every_;
  DeviceMemory lists_;
  DeviceMemory counts_;
  DeviceMemory dense_counts_;
  DeviceMemory routed_;
  DeviceMemory work_;
  DeviceMemory output_;
  DeviceMemory lse_;
  DeviceMemory attention_workspace_;
  cuda::DecodeGrid grid_;
};

// The mass that may be left for `wanted` to be listed; share(mass) falls as it grows.
template <typename Share>
float mass_for(double wanted, Share&& share) {
  float low = -12;
  float high = 0;
  for (int i = 0; i < 14; ++i) {
    const float middle = (low + high) / 2;
    (share(std::exp(middle)) > wanted ? low : high) = middle;
  }
  return std::exp(high);
}

void tune(Case& c) {
  if (c.granule() >= kBlockSize) {
    c.epsilon = mass_for(kBlockShare, [&](float mass) {
      c.epsilon = mass;
      cuda::launch_router(c.step(0), c.limits(), nullptr);
      return c.share_listed();
    });
    return;
  }
  const float of_blocks = mass_for(kBlockShare, [&](float mass) {
    c.epsilon = mass;
    cuda::launch_router(c.step(0), c.limits(), nullptr);
    return c.share_of_blocks();
  });
  c.epsilon = mass_for(kRowShare, [&](float mass) {
    c.epsilon = mass;
    c.block_share = of_blocks / mass;
    cuda::launch_router(c.step(0), c.limits(), nullptr);
    return c.share_listed();
  });
  c.block_share = of_blocks / c.epsilon;
}

nlohmann::json bench(Case& c, int context, double ceiling) {
  tune(c);
  c.route_and_attend(0, nullptr);
  const bool rows = c.granule() < kBlockSize;
  const double listed = c.share_listed();
  const double looked_at = rows ? c.share_of_blocks() : 0;
  const double dense_bytes = static_cast<double>(context) * kKvHeads * 2 * kRowBytes;
  const double moment_bytes = dense_bytes / 64;
  const double sketch_bytes =
      looked_at * context * kKvHeads * (kDim * kBits / 8 + sizeof(std::uint16_t));
  const double bytes = dense_bytes * listed + moment_bytes + sketch_bytes;
  const double dense = c.time(dense_bytes / 3e6,
                              [&](int set, cudaStream_t stream) { c.attend_densely(set, stream); });
  const auto& limits = c.limits();
  const double router = c.time(
      30, [&](int set, cudaStream_t stream) { cuda::launch_router(c.step(set), limits, stream); });
  c.route_and_attend(0, nullptr);  // the lists that attention meets
  const double attention =
      c.time(dense_bytes * listed / 3e6 + 5,
             [&](int set, cudaStream_t stream) { c.attend_lists(set, stream); });
  const double both = c.time(
      bytes / 3e6 + 20, [&](int set, cudaStream_t stream) { c.route_and_attend(set, stream); });
  // Stages apart are differences between chains: alone, a selection would find the histograms empty
  // from the second time on.
  const double tier0 = c.time(
      15, [&](int set, cudaStream_t stream) { cuda::launch_tier0(c.step(set), limits, stream); });
  cuda::clear_router_workspace(limits, c.step(0).workspace, nullptr);
  double first_two = 0;
  double first_three = 0;
  if (rows) {
    first_two = c.time(20, [&](int set, cudaStream_t stream) {
      cuda::launch_tier0(c.step(set), limits, stream);
      cuda::launch_select_granules(c.step(set), limits, stream);
    });
    first_three = c.time(30, [&](int set, cudaStream_t stream) {
      cuda::launch_tier0(c.step(set), limits, stream);
      cuda::launch_select_granules(c.step(set), limits, stream);
      cuda::launch_tier1(c.step(set), limits, stream);
    });
    cuda::clear_router_workspace(limits, c.step(0).workspace, nullptr);
  }
  fmt::print(
      "{:>7} {:>7} {:>8.4f} {:>7.3f} {:>7.3f} | {:>7.1f} {:>7.1f} {:>7.1f} {:>7.1f} | {:>7.1f} "
      "{:>9.1f} {:>7.1f} {:>7.1f} {:>7.2f} {:>6.0f} {:>6.0f}\n",
      context, c.granule(), c.epsilon, looked_at, listed, tier0, rows ? first_two - tier0 : 0.0,
      rows ? first_three - first_two : 0.0, router - (rows ? first_three : tier0), router,
      attention, both, dense, dense / both, bytes / both / 1e3, dense_bytes / dense / 1e3);
  std::fflush(stdout);
  return {{"context", context},
          {"granule", c.granule()},
          {"epsilon", c.epsilon},
          {"candidate_share", looked_at},
          {"listed_share", listed},
          {"tier0_us", tier0},
          {"tier0_and_selection_us", first_two},
          {"without_last_selection_us", first_three},
          {"router_us", router},
          {"attention_us", attention},
          {"router_and_attention_us", both},
          {"dense_us", dense},
          {"speedup", dense / both},
          {"bytes", bytes},
          {"dense_bytes", dense_bytes},
          {"read_ceiling_gb_per_s", ceiling}};
}

double read_ceiling(const RouterPool& pool) {
  const DeviceMemory sum(4);
  constexpr std::int64_t kBytes = std::int64_t{1} << 30;
  const Timing timing = time_in_graph(4, [&](int i, cudaStream_t stream) {
    cuda::read_memory(pool.keys().as<char>() + i % 2 * kBytes, kBytes, sum.as<std::uint32_t>(),
                      stream);
  });
  return kBytes / timing.median_us / 1e3;
}

constexpr const char* kHelp =
    "Times the router, and attention over what it lists, beside dense attention in CUDA graphs.\n"
    "\n"
    "  sr_bench_router [--json FILE] [CONTEXT ...]\n"
    "\n"
    "  --json FILE   write the results to FILE as well\n"
    "  CONTEXT       tokens, 32768, 131072 and 524288 if none is given\n"
    "\n"
    "Example: sr_bench_router --json router.json 131072\n";

struct Options {
  bool help = false;
  const char* json = nullptr;
  std::vector<int> contexts;
};

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--json") == 0 && i + 1 < argc) {
      options.json = argv[++i];
      continue;
    }
    if (std::strcmp(argv[i], "--help") == 0) {
      options.help = true;
      continue;
    }
    const int context = std::atoi(argv[i]);
    SR_CHECK(context >= 1024 && context <= kPoolTokens && context % kPage == 0, kInvalidArgument,
             "'{}': expected --json FILE or a context of 1024 to {} in whole pages of {}", argv[i],
             kPoolTokens, kPage);
    options.contexts.push_back(context);
  }
  if (options.contexts.empty()) options.contexts = {32768, 131072, 524288};
  return options;
}

void run(const Options& options) {
  cudaDeviceProp properties{};
  cuda::check(cudaGetDeviceProperties(&properties, 0), "GPU");
  const RouterPool pool;
  Rng rng(3);
  const double ceiling = read_ceiling(pool);
  nlohmann::json report = {{"device", properties.name},
                           {"q_heads", kQHeads},
                           {"kv_heads", kKvHeads},
                           {"head_dim", kDim},
                           {"kv_dtype", "bf16"},
                           {"read_ceiling_gb_per_s", ceiling},
                           {"cases", nlohmann::json::array()}};
  fmt::print("{}: reads at {:.0f} GB/s; batch 1, {} q / {} KV heads, d {}, bf16; us\n",
             properties.name, ceiling, kQHeads, kKvHeads, kDim);
  fmt::print(
      "{:>7} {:>7} {:>8} {:>7} {:>7} | {:>7} {:>7} {:>7} {:>7} | {:>7} {:>9} {:>7} {:>7} "
      "{:>7} {:>6} {:>6}\n",
      "context", "granule", "epsilon", "looked", "listed", "tier 0", "select", "tier 1", "select",
      "router", "attention", "both", "dense", "speedup", "GB/s", "dense");
  for (const int context : options.contexts) {
    for (const int granule : {1, 32}) {
      Case c(pool, context, granule, rng);
      report["cases"].push_back(bench(c, context, ceiling));
    }
  }
  write_json(options.json, report);
}

}  // namespace
}  // namespace sinkrouter::gpu_bench

int main(int argc, char** argv) {
  using namespace sinkrouter::gpu_bench;
  return run_program(
      "sr_bench_router", kHelp, [&] { return parse(argc, argv); },
      [](const Options& options) { run(options); });
}
