// Times decode attention on the GPU in CUDA graphs, beside the read bandwidth of the same run.
//
//   sr_bench_gpu --help

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/dtype.h"
#include "decode_cases.h"
#include "device_memory.h"
#include "graph_timer.h"
#include "kernels/cuda/decode_attention.h"
#include "kernels/cuda/read_memory.h"
#include "program.h"
#include "random_fill.h"

namespace sinkrouter::gpu_bench {
namespace {

constexpr int kPageSize = 64;
constexpr std::int64_t kPoolBytes = std::int64_t{1} << 31;  // of keys, and of values

struct Model {
  const char* name;
  int q_heads;
  int kv_heads;
  int head_dim;
};
constexpr Model kModels[] = {{"Llama-3.1-8B", 32, 8, 128},
                             {"Llama-3.1-70B", 64, 8, 128},
                             {"Yi-9B", 32, 4, 128},
                             {"Vicuna-7B", 32, 32, 128},
                             {"Vicuna-13B", 40, 40, 128}};

// Launches of one graph: enough to time, and to go round all sets of inputs.
int launches_for(double bytes, int sets) {
  const double expected_us = bytes / 3e6 + 5;
  return std::clamp(static_cast<int>(4000 / expected_us), std::max(2, sets), 200);
}

// A paged cache for one layer of a model, and queries.
class Pool {
 public:
  Pool(const Model& model, DType dtype, Rng& rng)
      : model_(model),
        dtype_(dtype),
        row_bytes_(model.head_dim * static_cast<std::int64_t>(size_in_bytes(dtype))),
        keys_(kPoolBytes),
        values_(kPoolBytes),
        queries_(std::int64_t{64} * model.q_heads * model.head_dim * 2),
        scales_(std::vector<float>(model.kv_heads, 1.0f)),
        pages_(tokens() / kPageSize) {
    const std::int64_t elements = kPoolBytes / static_cast<std::int64_t>(size_in_bytes(dtype));
    fill_random(keys_.as<void>(), dtype, elements, 1, nullptr);
    fill_random(values_.as<void>(), dtype, elements, 2, nullptr);
    fill_random(queries_.as<void>(), DType::kBF16, queries_.bytes() / 2, 3, nullptr);
    for (std::size_t i = 0; i < pages_.size(); ++i) pages_[i] = static_cast<std::int32_t>(i);
    in_order_ = pages_;
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
    params.q_heads = model_.q_heads;
    params.scale = 1.0f / std::sqrt(static_cast<float>(model_.head_dim));
    params.kv.keys = keys_.as<void>();
    params.kv.values = values_.as<void>();
    params.kv.dtype = dtype_;
    params.kv.token_stride = model_.head_dim;
    params.kv.head_stride = std::int64_t{model_.head_dim} * kPageSize;
    params.kv.page_stride = std::int64_t{model_.head_dim} * kPageSize * model_.kv_heads;
    params.kv.page_size = kPageSize;
    params.kv.kv_heads = model_.kv_heads;
    params.kv.head_dim = model_.head_dim;
    if (dtype_ == DType::kF8E4M3) {
      params.kv.key_scales = scales_.as<float>();
      params.kv.value_scales = scales_.as<float>();
    }
    return params;
  }
  const Model& model() const { return model_; }
  DType dtype() const { return dtype_; }
  std::int64_t row_bytes() const { return row_bytes_; }
  std::int64_t tokens() const {
    return kPoolBytes / (row_bytes_ * model_.kv_heads) / kPageSize * kPageSize;
  }
  std::span<const std::int32_t> pages(bool in_order) const { return in_order ? in_order_ : pages_; }
  const DeviceMemory& keys() const { return keys_; }

 private:
  Model model_;
  DType dtype_;
  std::int64_t row_bytes_;
  DeviceMemory keys_;
  DeviceMemory values_;
  DeviceMemory queries_;
  DeviceMemory scales_;
  std::vector<std::int32_t> pages_;
  std::vector<std::int32_t> in_order_;
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
  std::int64_t bytes = 0;
  Timing timing;
};

// How cases are launched.
struct Launching {
  bool overlap = true;
  bool in_graph = true;
};

Result time_case(const DecodeCase& shape, const Pool& pool, const Launching& launching, Rng& rng) {
  const int kv_heads = pool.model().kv_heads;
  const std::int64_t tokens = std::int64_t{shape.context} * shape.batch;
  SR_ASSERT(tokens <= pool.tokens());
  const int sets = static_cast<int>(std::min<std::int64_t>(pool.tokens() / tokens, 16));
  const std::int64_t pages_each = shape.context / kPageSize;
  Result result;
  std::vector<InputSet> inputs;
  cuda::DecodeParams params = pool.params();
  params.kv.sequences = shape.batch;
  params.kv.page_table_stride = pages_each;
  params.lists.granule = shape.granule;
  for (int set = 0; set < sets; ++set) {
    const DrawnLists lists = draw_lists(shape, kv_heads, rng);
    const auto pages = pool.pages(shape.in_order)
                           .subspan(set * pages_each * shape.batch, pages_each * shape.batch);
    inputs.push_back({DeviceMemory(std::vector<std::int32_t>(pages.begin(), pages.end())),
                      DeviceMemory(std::vector<std::int32_t>(shape.batch, shape.context)),
                      DeviceMemory(lists.granules), DeviceMemory(lists.counts)});
    params.lists.capacity = lists.capacity;
    result.bytes = lists.rows * 2 * pool.row_bytes();
  }

  cuda::DecodeGrid grid = cuda::decode_grid(pool.dtype(), pool.model().head_dim);
  grid.overlaps = grid.overlaps && launching.overlap;
  const DeviceMemory workspace(cuda::decode_workspace(params, grid));
  const std::int64_t out_rows = std::int64_t{shape.batch} * pool.model().q_heads;
  const DeviceMemory output(out_rows * pool.model().head_dim * 2);
  const DeviceMemory lse(out_rows * 4);
  cuda::check(cudaMemset(workspace.as<void>(), 0, workspace.bytes()), "workspace");
  params.workspace = workspace.as<void>();
  params.workspace_bytes = workspace.bytes();
  params.output = output.as<void>();
  params.lse = lse.as<float>();
  const auto launch = [&](int i, cudaStream_t stream) {
    const InputSet& set = inputs[i % sets];
    params.kv.page_table = set.page_table.as<std::int32_t>();
    params.kv.lengths = set.lengths.as<std::int32_t>();
    params.lists.granules = set.granules.as<std::int32_t>();
    params.lists.counts = set.counts.as<std::int32_t>();
    cuda::decode_attention(params, grid, stream);
  };
  const int launches = launches_for(static_cast<double>(result.bytes), sets);
  result.timing =
      launching.in_graph ? time_in_graph(launches, launch) : time_launches(launches, launch);
  return result;
}

double gigabytes_per_second(std::int64_t bytes, const Timing& timing) {
  return static_cast<double>(bytes) / (timing.median_us * 1e3);
}

// The best of a plain read of as many bytes, at places that change.
double read_ceiling(const Pool& pool, std::int64_t bytes) {
  const DeviceMemory sum(4);
  const int sets = static_cast<int>(std::min<std::int64_t>(pool.keys().bytes() / bytes, 128));
  const Timing timing = time_in_graph(launches_for(static_cast<double>(bytes), sets),
                                      [&](int i, cudaStream_t stream) {
                                        cuda::read_memory(pool.keys().as<char>() + i % sets * bytes,
                                                          bytes, sum.as<std::uint32_t>(), stream);
                                      });
  return gigabytes_per_second(bytes, timing);
}

void time_cases(const std::vector<DecodeCase>& cases, const Pool& pool, double ceiling,
                const Launching& launching, Rng& rng, nlohmann::json& report) {
  fmt::print("\n{}, {} KV, {}\n", pool.model().name, name(pool.dtype()),
             launching.in_graph ? "in graphs" : "without graphs");
  fmt::print("{:<7} {:>8} {:>5} {:>6} {:>6} {:>8} {:>8} {:>9} {:>7} {:>7} {:>9} {:>8}\n", "case",
             "context", "batch", "routed", "share", "pages", "MB", "us", "GB/s", "ceiling",
             "of dense", "to ideal");
  std::map<std::pair<int, int>, Result> dense;
  for (const DecodeCase& shape : cases) {
    const Result result = time_case(shape, pool, launching, rng);
    const auto key = std::pair(shape.context, shape.batch);
    if (shape.name == "dense") dense[key] = result;
    const auto found = dense.find(key);
    const Result base = found == dense.end() ? result : found->second;
    const double of_dense = result.timing.median_us / base.timing.median_us;
    const double ideal = static_cast<double>(result.bytes) / static_cast<double>(base.bytes);
    const double rate = gigabytes_per_second(result.bytes, result.timing);
    fmt::print(
        "{:<7} {:>8} {:>5} {:>6} {:>6.3f} {:>8} {:>8.1f} {:>9.2f} {:>7.0f} {:>6.1f}% {:>9.3f} "
        "{:>8.2f}\n",
        shape.name, shape.context, shape.batch, shape.routed, shape.share,
        shape.in_order ? "in order" : "random", static_cast<double>(result.bytes) / 1e6,
        result.timing.median_us, rate, 100 * rate / ceiling, of_dense, of_dense / ideal);
    std::fflush(stdout);
    report["cases"].push_back({{"model", pool.model().name},
                               {"q_heads", pool.model().q_heads},
                               {"kv_heads", pool.model().kv_heads},
                               {"head_dim", pool.model().head_dim},
                               {"kv_dtype", name(pool.dtype())},
                               {"in_graph", launching.in_graph},
                               {"case", shape.name},
                               {"context", shape.context},
                               {"batch", shape.batch},
                               {"granule", shape.granule},
                               {"pages_in_order", shape.in_order},
                               {"routed_kv_heads", shape.routed},
                               {"share", shape.share},
                               {"bytes", result.bytes},
                               {"median_us", result.timing.median_us},
                               {"least_us", result.timing.least_us},
                               {"dense_median_us", base.timing.median_us},
                               {"dense_bytes", base.bytes}});
  }
}

constexpr const char* kHelp =
    "Times decode attention on the GPU in CUDA graphs, beside the read bandwidth of the same run.\n"
    "\n"
    "  sr_bench_gpu [--quick] [--json FILE] [--no-overlap]\n"
    "\n"
    "  --quick       Llama-3.1-8B's shape in bf16 alone, at fewer contexts\n"
    "  --json FILE   write the results to FILE as well\n"
    "  --no-overlap  a launch is set up only when the one before it is done\n"
    "\n"
    "Example: sr_bench_gpu --quick --json decode.json\n";

struct Options {
  bool quick = false;
  bool help = false;
  Launching launching;
  const char* json = nullptr;
};

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == "--quick") {
      options.quick = true;
    } else if (argument == "--help") {
      options.help = true;
    } else if (argument == "--no-overlap") {
      options.launching.overlap = false;
    } else if (argument == "--json" && i + 1 < argc) {
      options.json = argv[++i];
    } else {
      throw Error(Error::Kind::kInvalidArgument,
                  fmt::format("unknown option '{}': see sr_bench_gpu --help", argument));
    }
  }
  return options;
}

void run(const Options& options) {
  cudaDeviceProp properties{};
  cuda::check(cudaGetDeviceProperties(&properties, 0), "GPU");
  Rng rng(1);
  nlohmann::json report = {{"device", properties.name}, {"cases", nlohmann::json::array()}};
  double ceiling = 0;
  for (const Model& model : kModels) {
    const bool is_first = &model == kModels;
    for (DType dtype : {DType::kBF16, DType::kF8E4M3}) {
      const Pool pool(model, dtype, rng);
      if (ceiling == 0) {
        ceiling = read_ceiling(pool, std::int64_t{1} << 31);
        report["read_ceiling_gb_per_s"] = ceiling;
        fmt::print("{}: reads at {:.0f} GB/s (2 GiB)", properties.name, ceiling);
        for (int megabytes : {4, 16, 64, 128, 512}) {
          const double rate = read_ceiling(pool, std::int64_t{megabytes} << 20);
          report["reads_gb_per_s"][fmt::format("{} MiB", megabytes)] = rate;
          fmt::print(", {:.0f} ({} MiB)", rate, megabytes);
        }
        fmt::print("\n");
      }
      const std::vector<DecodeCase> cases = is_first && dtype == DType::kBF16
                                                ? decode_cases(options.quick)
                                            : is_first ? few_cases()
                                                       : dense_cases(pool.tokens());
      time_cases(cases, pool, ceiling, options.launching, rng, report);
      if (is_first && dtype == DType::kBF16) {
        Launching direct = options.launching;
        direct.in_graph = false;
        time_cases(few_cases(), pool, ceiling, direct, rng, report);
        if (options.quick) break;
      }
    }
    if (options.quick) break;
  }
  write_json(options.json, report);
}

}  // namespace
}  // namespace sinkrouter::gpu_bench

int main(int argc, char** argv) {
  using namespace sinkrouter::gpu_bench;
  return run_program(
      "sr_bench_gpu", kHelp, [&] { return parse(argc, argv); },
      [](const Options& options) { run(options); });
}
