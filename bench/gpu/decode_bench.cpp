// Times decode attention on the GPU in CUDA graphs, beside the read bandwidth of the same run.
//
//   sr_bench_gpu [--quick] [--json FILE]

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <span>
#include <utility>
#include <vector>

#include "base/check.h"
#include "decode_cases.h"
#include "device_memory.h"
#include "graph_timer.h"
#include "kernels/cuda/decode_attention.h"
#include "kernels/cuda/read_memory.h"
#include "random_fill.h"

namespace sinkrouter::gpu_bench {
namespace {

constexpr int kKvHeads = 8;
constexpr int kGroup = 4;
constexpr int kHeadDim = 128;
constexpr int kPageSize = 64;
constexpr std::int64_t kPoolTokens = 1 << 20;
constexpr std::int64_t kRowBytes = kHeadDim * 2;  // of keys, and of values

// Launches of one graph: enough to time, and to go round all sets of inputs.
int launches_for(double bytes, int sets) {
  const double expected_us = bytes / 3e6 + 5;
  return std::clamp(static_cast<int>(4000 / expected_us), std::max(2, sets), 200);
}

// A paged cache of kPoolTokens tokens, pages in random order, and queries.
class Pool {
 public:
  explicit Pool(Rng& rng)
      : keys_(kPoolTokens * kKvHeads * kRowBytes),
        values_(kPoolTokens * kKvHeads * kRowBytes),
        queries_(std::int64_t{64} * kKvHeads * kGroup * kRowBytes),
        pages_(kPoolTokens / kPageSize) {
    fill_random(keys_.as<void>(), keys_.bytes() / 2, 1, nullptr);
    fill_random(values_.as<void>(), values_.bytes() / 2, 2, nullptr);
    fill_random(queries_.as<void>(), queries_.bytes() / 2, 3, nullptr);
    for (std::size_t i = 0; i < pages_.size(); ++i) pages_[i] = static_cast<std::int32_t>(i);
    for (std::size_t i = pages_.size() - 1; i > 0; --i) {
      std::swap(pages_[i], pages_[rng.below(i + 1)]);
    }
    cuda::check(cudaDeviceSynchronize(), "filling the cache");
  }

  // Without what differs from case to case.
  cuda::DecodeParams params() const {
    cuda::DecodeParams params;
    params.queries = queries_.as<void>();
    params.query_dtype = DType::kBF16;
    params.output_dtype = DType::kBF16;
    params.q_heads = kKvHeads * kGroup;
    params.scale = 1.0f / std::sqrt(static_cast<float>(kHeadDim));
    params.kv.keys = keys_.as<void>();
    params.kv.values = values_.as<void>();
    params.kv.dtype = DType::kBF16;
    params.kv.token_stride = kHeadDim;
    params.kv.head_stride = kHeadDim * kPageSize;
    params.kv.page_stride = std::int64_t{kHeadDim} * kPageSize * kKvHeads;
    params.kv.page_size = kPageSize;
    params.kv.kv_heads = kKvHeads;
    params.kv.head_dim = kHeadDim;
    return params;
  }
  std::span<const std::int32_t> pages() const { return pages_; }
  const DeviceMemory& keys() const { return keys_; }

 private:
  DeviceMemory keys_;
  DeviceMemory values_;
  DeviceMemory queries_;
  std::vector<std::int32_t> pages_;
};

// One set of inputs of a case: pages and lists of its own, so that launches in a row do not meet
// each other's rows in the cache of the GPU.
struct InputSet {
  DeviceMemory page_table;
  DeviceMemory lengths;
  DeviceMemory granules;
  DeviceMemory counts;
};

struct Result {
  DecodeCase shape;
  std::int64_t bytes = 0;
  Timing timing;
};

Result time_case(const DecodeCase& shape, const Pool& pool, Rng& rng) {
  const std::int64_t tokens = std::int64_t{shape.context} * shape.batch;
  SR_ASSERT(tokens <= kPoolTokens);
  const int sets = static_cast<int>(std::min<std::int64_t>(kPoolTokens / tokens, 16));
  const std::int64_t pages_each = shape.context / kPageSize;
  Result result{shape, 0, {}};
  std::vector<InputSet> inputs;
  cuda::DecodeParams params = pool.params();
  params.kv.sequences = shape.batch;
  params.kv.page_table_stride = pages_each;
  params.lists.granule = shape.granule;
  std::int64_t rows = 0;
  for (int set = 0; set < sets; ++set) {
    const DrawnLists lists = draw_lists(shape, kKvHeads, rng);
    const auto pages =
        pool.pages().subspan(set * pages_each * shape.batch, pages_each * shape.batch);
    inputs.push_back({DeviceMemory(std::vector<std::int32_t>(pages.begin(), pages.end())),
                      DeviceMemory(std::vector<std::int32_t>(shape.batch, shape.context)),
                      DeviceMemory(lists.granules), DeviceMemory(lists.counts)});
    params.lists.capacity = lists.capacity;
    rows = lists.rows;
  }
  result.bytes = rows * 2 * kRowBytes;

  const cuda::DecodeGrid grid = cuda::decode_grid(DType::kBF16, kHeadDim);
  const DeviceMemory workspace(cuda::decode_workspace(params, grid));
  const std::int64_t out_rows = std::int64_t{shape.batch} * kKvHeads * kGroup;
  const DeviceMemory output(out_rows * kRowBytes);
  const DeviceMemory lse(out_rows * 4);
  cuda::check(cudaMemset(workspace.as<void>(), 0, workspace.bytes()), "workspace");
  params.workspace = workspace.as<void>();
  params.workspace_bytes = workspace.bytes();
  params.output = output.as<void>();
  params.lse = lse.as<float>();
  result.timing = time_in_graph(launches_for(static_cast<double>(result.bytes), sets),
                                [&](int i, cudaStream_t stream) {
                                  const InputSet& set = inputs[i % sets];
                                  params.kv.page_table = set.page_table.as<std::int32_t>();
                                  params.kv.lengths = set.lengths.as<std::int32_t>();
                                  params.lists.granules = set.granules.as<std::int32_t>();
                                  params.lists.counts = set.counts.as<std::int32_t>();
                                  cuda::decode_attention(params, grid, stream);
                                });
  return result;
}

double gigabytes_per_second(std::int64_t bytes, const Timing& timing) {
  return static_cast<double>(bytes) / (timing.median_us * 1e3);
}

// The best of a plain read of as many bytes, at places that change.
double read_ceiling(const Pool& pool, std::int64_t bytes) {
  const DeviceMemory sum(4);
  const int sets = static_cast<int>(pool.keys().bytes() / bytes);
  const Timing timing = time_in_graph(launches_for(static_cast<double>(bytes), sets),
                                      [&](int i, cudaStream_t stream) {
                                        cuda::read_memory(pool.keys().as<char>() + i % sets * bytes,
                                                          bytes, sum.as<std::uint32_t>(), stream);
                                      });
  return gigabytes_per_second(bytes, timing);
}

struct Options {
  bool quick = false;
  const char* json = nullptr;
};

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--quick") == 0) {
      options.quick = true;
    } else if (std::strcmp(argv[i], "--json") == 0 && i + 1 < argc) {
      options.json = argv[++i];
    } else {
      throw Error(Error::Kind::kInvalidArgument,
                  fmt::format("unknown option '{}': expected --quick or --json FILE", argv[i]));
    }
  }
  return options;
}

void run(const Options& options) {
  cudaDeviceProp properties{};
  cuda::check(cudaGetDeviceProperties(&properties, 0), "GPU");
  Rng rng(1);
  const Pool pool(rng);
  const double ceiling = read_ceiling(pool, std::int64_t{1} << 31);
  nlohmann::json report = {{"device", properties.name},
                           {"read_ceiling_gb_per_s", ceiling},
                           {"kv_dtype", "bf16"},
                           {"q_heads", kKvHeads * kGroup},
                           {"kv_heads", kKvHeads},
                           {"head_dim", kHeadDim},
                           {"cases", nlohmann::json::array()}};
  fmt::print("{}: reads at {:.0f} GB/s (2 GiB)", properties.name, ceiling);
  for (int megabytes : {16, 64, 128, 512}) {
    fmt::print(", {:.0f} ({} MiB)", read_ceiling(pool, std::int64_t{megabytes} << 20), megabytes);
  }
  fmt::print("\n{:<7} {:>8} {:>5} {:>6} {:>6} {:>8} {:>9} {:>7} {:>7} {:>9} {:>8}\n", "case",
             "context", "batch", "routed", "share", "MB", "us", "GB/s", "ceiling", "of dense",
             "to ideal");
  std::map<std::pair<int, int>, Result> dense;
  for (const DecodeCase& shape : decode_cases(options.quick)) {
    const Result result = time_case(shape, pool, rng);
    const auto key = std::pair(shape.context, shape.batch);
    if (shape.name == "dense") dense[key] = result;
    const Result& base = dense.at(key);
    const double of_dense = result.timing.median_us / base.timing.median_us;
    const double ideal = static_cast<double>(result.bytes) / static_cast<double>(base.bytes);
    const double rate = gigabytes_per_second(result.bytes, result.timing);
    fmt::print(
        "{:<7} {:>8} {:>5} {:>6} {:>6.3f} {:>8.1f} {:>9.2f} {:>7.0f} {:>6.1f}% {:>9.3f} "
        "{:>8.2f}\n",
        shape.name, shape.context, shape.batch, shape.routed, shape.share,
        static_cast<double>(result.bytes) / 1e6, result.timing.median_us, rate,
        100 * rate / ceiling, of_dense, of_dense / ideal);
    std::fflush(stdout);
    report["cases"].push_back({{"case", shape.name},
                               {"context", shape.context},
                               {"batch", shape.batch},
                               {"granule", shape.granule},
                               {"routed_kv_heads", shape.routed},
                               {"share", shape.share},
                               {"bytes", result.bytes},
                               {"median_us", result.timing.median_us},
                               {"least_us", result.timing.least_us},
                               {"dense_median_us", base.timing.median_us}});
  }
  if (options.json != nullptr) {
    std::ofstream file(options.json);
    file << report.dump(1) << '\n';
    SR_CHECK(file.good(), kInvalidArgument, "cannot write {}", options.json);
  }
}

}  // namespace
}  // namespace sinkrouter::gpu_bench

int main(int argc, char** argv) {
  try {
    sinkrouter::gpu_bench::run(sinkrouter::gpu_bench::parse(argc, argv));
    return 0;
  } catch (const std::exception& error) {
    fmt::print(stderr, "sr_bench_gpu: {}\n", error.what());
    return 1;
  }
}
