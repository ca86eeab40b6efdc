// Times the router's stages in CUDA graphs, on a synthetic cache that makes it choose a given share
// of candidates and rows. Usage: router_bench [--json FILE] [context ...]

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <numeric>
#include <string>
#include <vector>

#include "base/rng.h"
#include "graph_timer.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/read_memory.h"
#include "kernels/cuda/router_step.h"
#include "router_fill.h"

namespace sinkrouter::gpu_bench {

using namespace cuda;  // the router
namespace {

constexpr int kQHeads = 32;
constexpr int kKvHeads = 8;
constexpr int kDim = 128;
constexpr int kPage = 64;
constexpr int kWindow = 64;
constexpr double kRowShare = 0.05;
constexpr double kBlockShare = 0.15;
constexpr float kCodeScale = 1.0f / 64;

template <typename T>
T* allocate(std::int64_t count) {
  void* memory = nullptr;
  cuda::check(cudaMalloc(&memory, count * sizeof(T)), "cudaMalloc");
  return static_cast<T*>(memory);
}

// Layers with descriptions of their own, so that no replay finds them in the cache.
struct Layers {
  int length;
  int count;
  std::int64_t blocks;  // of a layer
  std::uint8_t* codes;
  float* scales;
  std::uint32_t* sketch_codes;
  Float16* sketch_scales;
  void* keys;
  std::int32_t* table;
  std::int32_t* lengths;
  float* rotation;
  float* queries;  // [count, q_heads, dim]
  RouterLimits limits;
  std::int32_t* lists;
  std::int32_t* counts;
  std::uint8_t* routed;
  void* work;
  std::int64_t pages;
};

Layers make_layers(int length) {
  Layers l{};
  l.length = length;
  l.pages = length / kPage;
  l.blocks = l.pages * kKvHeads * (kPage / kBlockSize);
  const double bytes = static_cast<double>(l.blocks) * (2 * kDim + 32 * (kDim / 4 + 2));
  l.count = std::clamp(static_cast<int>(std::ceil(256e6 / bytes)), 2, 16);
  l.codes = allocate<std::uint8_t>(l.count * l.blocks * 2 * kDim);
  l.scales = allocate<float>(l.count * l.blocks);
  l.sketch_codes = allocate<std::uint32_t>(l.count * l.blocks * (kDim / 16) * kBlockSize);
  l.sketch_scales = allocate<Float16>(l.count * l.blocks * kBlockSize);
  const std::int64_t key_bytes = l.pages * kKvHeads * kPage * kDim * 2;
  l.keys = allocate<char>(key_bytes);
  cuda::check(fill_bits(reinterpret_cast<std::uint32_t*>(l.keys), key_bytes / 4, 7, 0x80ff80ffu,
                        0x3f003f00u),
              "fill");
  // Means are normal, deviations are what the sketches' codes have: 2 times 1.118.
  cuda::check(fill_normal_codes(l.codes, l.count * l.blocks * 2 * kDim, 11, 1.0f / kCodeScale,
                                2 * kDim, kDim),
              "fill");
  std::vector<float> scales(l.count * l.blocks, kCodeScale * 1.0f);
  cuda::check(cudaMemcpy(l.scales, scales.data(), scales.size() * 4, cudaMemcpyHostToDevice),
              "copy");
  cuda::check(
      fill_bits(l.sketch_codes, l.count * l.blocks * (kDim / 16) * kBlockSize, 13, 0xffffffffu, 0),
      "fill");
  std::vector<std::uint16_t> row_scales(l.count * l.blocks * kBlockSize, 0x3b27);  // 0.894
  cuda::check(
      cudaMemcpy(l.sketch_scales, row_scales.data(), row_scales.size() * 2, cudaMemcpyHostToDevice),
      "copy");
  Rng rng(3);
  std::vector<std::int32_t> table(l.pages);
  std::iota(table.begin(), table.end(), 0);
  for (std::int64_t i = l.pages - 1; i > 0; --i) std::swap(table[i], table[rng.below(i + 1)]);
  l.table = allocate<std::int32_t>(l.pages);
  cuda::check(cudaMemcpy(l.table, table.data(), l.pages * 4, cudaMemcpyHostToDevice), "copy");
  l.lengths = allocate<std::int32_t>(1);
  cuda::check(cudaMemcpy(l.lengths, &length, 4, cudaMemcpyHostToDevice), "copy");
  // A Hadamard matrix over sqrt(128).
  std::vector<float> rotation(kDim * kDim);
  for (int i = 0; i < kDim; ++i) {
    for (int j = 0; j < kDim; ++j)
      rotation[i * kDim + j] = (__builtin_popcount(i & j) % 2 ? -1.0f : 1.0f) / std::sqrt(128.0f);
  }
  l.rotation = allocate<float>(kDim * kDim);
  cuda::check(cudaMemcpy(l.rotation, rotation.data(), rotation.size() * 4, cudaMemcpyHostToDevice),
              "copy");
  std::vector<float> queries(l.count * kQHeads * kDim);
  for (float& q : queries) q = rng.normal();
  l.queries = allocate<float>(queries.size());
  cuda::check(cudaMemcpy(l.queries, queries.data(), queries.size() * 4, cudaMemcpyHostToDevice),
              "copy");
  l.limits = {1, kQHeads, kKvHeads, kDim, length, kWindow, 1};
  l.lists = allocate<std::int32_t>(std::int64_t{kKvHeads} * length);
  l.counts = allocate<std::int32_t>(kKvHeads);
  l.routed = allocate<std::uint8_t>(kKvHeads);
  const std::int64_t work_bytes = router_workspace_bytes(l.limits);
  l.work = allocate<char>(work_bytes);
  cuda::check(cudaMemset(l.work, 0, work_bytes), "memset");
  return l;
}

void release(const Layers& l) {
  for (void* memory :
       {static_cast<void*>(l.codes), static_cast<void*>(l.scales),
        static_cast<void*>(l.sketch_codes), static_cast<void*>(l.sketch_scales), l.keys,
        static_cast<void*>(l.table), static_cast<void*>(l.lengths), static_cast<void*>(l.rotation),
        static_cast<void*>(l.queries), static_cast<void*>(l.lists), static_cast<void*>(l.counts),
        static_cast<void*>(l.routed), l.work}) {
    cudaFree(memory);
  }
}

RouterStep step_of(const Layers& l, int layer, int granule, float sharpness, float epsilon,
                   float block_share) {
  RouterStep step;
  step.queries = l.queries + std::int64_t{layer} * kQHeads * kDim;
  step.q_heads = kQHeads;
  step.scale = sharpness / std::sqrt(static_cast<float>(kDim));
  step.kv.keys = l.keys;
  step.kv.dtype = DType::kBF16;
  step.kv.token_stride = kDim;
  step.kv.head_stride = std::int64_t{kPage} * kDim;
  step.kv.page_stride = step.kv.head_stride * kKvHeads;
  step.kv.page_size = kPage;
  step.kv.kv_heads = kKvHeads;
  step.kv.head_dim = kDim;
  step.kv.sequences = 1;
  step.kv.page_table = l.table;
  step.kv.page_table_stride = l.pages;
  step.kv.lengths = l.lengths;
  step.moments = {l.codes + layer * l.blocks * 2 * kDim, l.scales + layer * l.blocks};
  step.sketches = {2, l.sketch_codes + layer * l.blocks * (kDim / 16) * kBlockSize,
                   l.sketch_scales + layer * l.blocks * kBlockSize, nullptr, l.rotation};
  step.window = kWindow;
  step.epsilon = epsilon;
  step.block_share = block_share;
  step.kept_units = kept_units(l.limits);
  step.workspace = router_workspace(l.limits, l.work);
  step.lists = {l.lists, l.counts, granule == 1 ? l.length : l.length / granule, granule};
  step.routed = l.routed;
  return step;
}

// Microseconds of one call of `launch(layer)`, going round the layers.
double time_layers(int layers, const std::function<cudaError_t(int, cudaStream_t)>& launch) {
  return time_in_graph(
             4 * layers,
             [&](int i, cudaStream_t stream) { cuda::check(launch(i % layers, stream), "launch"); })
      .median_us;
}

double fraction(const std::int32_t* counts, double of) {
  std::int32_t host[kKvHeads];
  cuda::check(cudaDeviceSynchronize(), "synchronize");
  cuda::check(cudaMemcpy(host, counts, sizeof(host), cudaMemcpyDeviceToHost), "copy");
  return std::accumulate(host, host + kKvHeads, 0.0) / kKvHeads / of;
}

void bench(int length, std::FILE* json, bool first) {
  const Layers l = make_layers(length);
  const float sharpness = 1.6f;
  // Mass that tier 0 may leave, for the wanted share of blocks; then epsilon for that of rows.
  float low = -16, high = 0;
  for (int i = 0; i < 14; ++i) {
    const float middle = (low + high) / 2;
    const RouterStep step = step_of(l, 0, 1, sharpness, std::exp(middle), 1.0f);
    cuda::check(launch_tier0(step, l.limits, nullptr), "tier0");
    cuda::check(launch_select_blocks(step, l.limits, nullptr), "select");
    (fraction(step.workspace.block_counts, length / kBlockSize) > kBlockShare ? low : high) =
        middle;
  }
  const float for_blocks = std::exp(high);
  low = high, high = 0;
  for (int i = 0; i < 14; ++i) {
    const float middle = (low + high) / 2;
    const RouterStep step =
        step_of(l, 0, 1, sharpness, std::exp(middle), for_blocks / std::exp(middle));
    cuda::check(launch_router(step, l.limits, nullptr), "router");
    (fraction(l.counts, length) > kRowShare ? low : high) = middle;
  }
  const float epsilon = std::exp(high);
  const float share = for_blocks / epsilon;
  {
    const RouterStep step = step_of(l, 0, 1, sharpness, epsilon, share);
    cuda::check(launch_router(step, l.limits, nullptr), "router");
    const double rows = fraction(l.counts, length);
    const double blocks = fraction(step.workspace.block_counts, length / kBlockSize);
    std::printf(
        "\ncontext %d: %d layers, epsilon %.3g, block share %.3g: %.1f%% of blocks, %.1f%% of "
        "rows\n",
        length, l.count, epsilon, share, 100 * blocks, 100 * rows);
  }
  const auto at = [&](int layer) { return step_of(l, layer, 1, sharpness, epsilon, share); };
  const auto coarse = [&](int layer) {
    RouterStep step = step_of(l, layer, 32, sharpness, for_blocks, 1.0f);
    return step;
  };
  RouterLimits blocks_only = l.limits;
  blocks_only.granule = 32;
  const double tier0 =
      time_layers(l.count, [&](int i, cudaStream_t s) { return launch_tier0(at(i), l.limits, s); });
  const double select0 = time_layers(
      l.count, [&](int i, cudaStream_t s) { return launch_select_blocks(at(i), l.limits, s); });
  const double tier1 =
      time_layers(l.count, [&](int i, cudaStream_t s) { return launch_tier1(at(i), l.limits, s); });
  const double select1 = time_layers(
      l.count, [&](int i, cudaStream_t s) { return launch_select_rows(at(i), l.limits, s); });
  const double all = time_layers(
      l.count, [&](int i, cudaStream_t s) { return launch_router(at(i), l.limits, s); });
  const double block_router = time_layers(
      l.count, [&](int i, cudaStream_t s) { return launch_router(coarse(i), blocks_only, s); });
  const std::int64_t dense_bytes = std::int64_t{length} * kKvHeads * kDim * 2 * 2;
  const std::int64_t words =
      std::min<std::int64_t>(dense_bytes / 2, l.pages * kKvHeads * kPage * kDim * 2) / 16;
  std::uint32_t* sum = allocate<std::uint32_t>(1);
  const double half = time_layers(1, [&](int, cudaStream_t s) {
    read_memory(l.keys, words * 16, sum, s);
    return cudaSuccess;
  });
  cudaFree(sum);
  const double tier0_bytes = static_cast<double>(l.blocks) * (2 * kDim + 4);
  const double tier1_bytes = static_cast<double>(l.blocks) * kBlockShare * 32 * (kDim / 4 + 2);
  std::printf("  %-34s %9s %9s\n", "stage", "us", "GB/s");
  std::printf("  %-34s %9.2f %9.0f\n", "tier 0 (with kept set, queries)", tier0,
              tier0_bytes / tier0 / 1e3);
  std::printf("  %-34s %9.2f\n", "select blocks", select0);
  std::printf("  %-34s %9.2f %9.0f\n", "tier 1", tier1, tier1_bytes / tier1 / 1e3);
  std::printf("  %-34s %9.2f\n", "select rows", select1);
  std::printf("  %-34s %9.2f\n", "router, rows", all);
  std::printf("  %-34s %9.2f\n", "router, blocks of 32", block_router);
  std::printf("  %-34s %9.2f %9.0f\n", "reading all keys once (half dense)", half,
              words * 16 / half / 1e3);
  std::fflush(stdout);
  if (json != nullptr) {
    std::fprintf(json,
                 "%s{\"context\":%d,\"layers\":%d,\"tier0_us\":%.3f,\"select_blocks_us\":%.3f,"
                 "\"tier1_us\":%.3f,"
                 "\"select_rows_us\":%.3f,\"router_rows_us\":%.3f,\"router_blocks_us\":%.3f,\"read_"
                 "half_us\":%.3f,"
                 "\"dense_bytes\":%lld}",
                 first ? "" : ",\n", length, l.count, tier0, select0, tier1, select1, all,
                 block_router, half, static_cast<long long>(dense_bytes));
  }
  release(l);
}

}  // namespace
}  // namespace sinkrouter::gpu_bench

int main(int argc, char** argv) {
  std::vector<int> contexts;
  std::FILE* json = nullptr;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--json") == 0 && i + 1 < argc) {
      json = std::fopen(argv[++i], "w");
    } else {
      contexts.push_back(std::atoi(argv[i]));
    }
  }
  if (contexts.empty()) contexts = {32768, 131072, 524288};
  cudaDeviceProp properties;
  sinkrouter::cuda::check(cudaGetDeviceProperties(&properties, 0), "device");
  std::printf(
      "%s, %d multiprocessors; 32 q heads, 8 KV heads, d 128, batch 1, bf16, 2-bit sketches\n",
      properties.name, properties.multiProcessorCount);
  if (json != nullptr) std::fprintf(json, "[");
  for (std::size_t i = 0; i < contexts.size(); ++i)
    sinkrouter::gpu_bench::bench(contexts[i], json, i == 0);
  if (json != nullptr) {
    std::fprintf(json, "]\n");
    std::fclose(json);
  }
  return 0;
}
