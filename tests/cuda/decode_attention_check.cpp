// Decode attention on the GPU against the reference, without a test framework, so that the program
// runs wherever there is a GPU. Prints what fails; exit status 1 when one failed, 77 when
// there is no GPU.
//
//   decode_attention_check [CASES [SEED]]

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <random>
#include <string>

#include "base/dtype.h"
#include "base/rng.h"
#include "cuda/decode_refusals.h"
#include "cuda/device_buffer.h"
#include "kernels/cuda/decode_attention.h"
#include "kernels/paged_cache.h"
#include "kernels/reference/reference.h"

namespace sinkrouter::cuda_tests {
namespace {

using kernel_tests::CacheShape;
using kernel_tests::Lists;
using kernel_tests::PagedCache;

struct Case {
  CacheShape cache;
  int group = 1;
  int granule = 1;
  double share = 1.0;
  float key_deviation = 1.0f;
  DType query_dtype = DType::kF32;
  DType output_dtype = DType::kF32;
  bool poisoned = false;  // one listed row of each list has a NaN key

  std::string text() const {
    return fmt::format(
        "{} d={} page={} heads={}x{} granule={} share={} dev={} q={} out={}{} len {}",
        name(cache.dtype), cache.head_dim, cache.page_size, cache.kv_heads, group, granule, share,
        key_deviation, name(query_dtype), name(output_dtype), poisoned ? " NaN" : "",
        fmt::join(cache.lengths, ","));
  }
};

template <typename T>
T one_of(Rng& rng, std::initializer_list<T> choices) {
  return choices.begin()[rng.below(choices.size())];
}

int between(Rng& rng, int low, int high) {
  return low + static_cast<int>(rng.below(high - low + 1));
}

Case random_case(Rng& rng) {
  Case shape;
  shape.cache.dtype = one_of(rng, {DType::kBF16, DType::kF16, DType::kF8E4M3});
  shape.cache.head_dim = one_of(rng, {64, 80, 96, 128});
  shape.cache.page_size = one_of(rng, {32, 64, 128, 256});
  shape.cache.kv_heads = between(rng, 1, 4);
  shape.group = one_of(rng, {1, 2, 3, 4, 5, 7, 8, 9, 16});
  shape.granule = one_of(rng, {1, 1, 2, 32, 64, 128});
  shape.share = one_of(rng, {0.0, 0.05, 0.4, 1.0});
  shape.key_deviation = one_of(rng, {0.2f, 1.0f, 6.0f});
  shape.query_dtype = one_of(rng, {DType::kF32, DType::kBF16, DType::kF16});
  shape.output_dtype = one_of(rng, {DType::kF32, DType::kBF16, DType::kF16});
  const int sequences = between(rng, 1, 3);
  for (int s = 0; s < sequences; ++s) {
    const int edge = shape.cache.page_size;
    shape.cache.lengths.push_back(one_of(rng, {0, 1, 3, edge - 1, edge, edge + 1, 64, 65,
                                               between(rng, 0, 900), between(rng, 0, 900)}));
  }
  return shape;
}

std::vector<std::byte> stored(std::span<const float> values, DType dtype) {
  std::vector<std::byte> bytes(values.size() * size_in_bytes(dtype));
  visit_dtype<float, BFloat16, Float16>(dtype, [&]<typename T>() {
    for (std::size_t i = 0; i < values.size(); ++i) {
      const T element = from_float<T>(values[i]);
      std::memcpy(bytes.data() + i * sizeof(T), &element, sizeof(T));
    }
  });
  return bytes;
}

std::vector<float> loaded(std::span<const std::byte> bytes, DType dtype) {
  std::vector<float> values(bytes.size() / size_in_bytes(dtype));
  visit_dtype<float, BFloat16, Float16>(dtype, [&]<typename T>() {
    for (std::size_t i = 0; i < values.size(); ++i) {
      T element;
      std::memcpy(&element, bytes.data() + i * sizeof(T), sizeof(T));
      values[i] = to_float(element);
    }
  });
  return values;
}

// What is wrong, or nothing. Rows [rows, width]: the error of a row over its norm; infinities and
// NaN in the same places.
std::string difference(std::span<const float> actual, std::span<const float> expected, int width,
                       double tolerance, double& worst) {
  for (std::size_t row = 0; row < expected.size() / width; ++row) {
    double error = 0;
    double norm = 0;
    for (int i = 0; i < width; ++i) {
      const std::size_t at = row * width + i;
      if (std::isfinite(expected[at]) != std::isfinite(actual[at]) ||
          std::isnan(expected[at]) != std::isnan(actual[at])) {
        return fmt::format("row {} column {}: {} instead of {}", row, i, actual[at], expected[at]);
      }
      if (!std::isfinite(expected[at])) continue;
      error += (double{actual[at]} - expected[at]) * (double{actual[at]} - expected[at]);
      norm += double{expected[at]} * expected[at];
    }
    const double relative = std::sqrt(error) / std::max(width == 1 ? 1.0 : 1e-6, std::sqrt(norm));
    worst = std::max(worst, relative);
    if (!(relative <= tolerance)) {
      return fmt::format("row {}: relative error {:.3g}; begins {} {} instead of {} {}", row,
                         relative, actual[row * width], actual[row * width + width / 2],
                         expected[row * width], expected[row * width + width / 2]);
    }
  }
  return {};
}

struct Outcome {
  std::string problem;
  double worst_output = 0;
  double worst_lse = 0;
};

Outcome run(const Case& shape, Rng& rng) {
  PagedCache cache(shape.cache, rng);
  KvView host_kv = cache.view();
  std::vector<float> key_scales;
  std::vector<float> value_scales;
  if (shape.cache.dtype == DType::kF8E4M3 && rng.below(4) != 0) {
    for (int h = 0; h < host_kv.kv_heads; ++h) {
      key_scales.push_back(static_cast<float>(0.3 + rng.uniform()));
      value_scales.push_back(static_cast<float>(0.01 + 3 * rng.uniform()));
    }
    host_kv.key_scales = key_scales.data();
    host_kv.value_scales = value_scales.data();
  }
  Lists lists(host_kv, shape.granule);
  for (int s = 0; s < host_kv.sequences; ++s) {
    for (int h = 0; h < host_kv.kv_heads; ++h) {
      lists.choose(s, h, shape.share, rng);
      const std::vector<int> tokens = lists.tokens(s, h);
      for (int token : tokens) cache.fill_row(s, h, token, shape.key_deviation, rng);
      if (shape.poisoned && !tokens.empty()) {
        cache.poison_row(s, h, tokens[rng.below(tokens.size())]);
      }
    }
  }
  const int q_heads = host_kv.kv_heads * shape.group;
  const std::int64_t rows = std::int64_t{host_kv.sequences} * q_heads;
  const std::int64_t elements = rows * host_kv.head_dim;
  std::vector<float> queries(elements);
  for (float& x : queries) {  // exact in every dtype
    x = to_float(from_float<Float16>(to_float(from_float<BFloat16>(rng.normal()))));
  }

  sinkrouter::DecodeAttentionParams reference;
  reference.queries = queries.data();
  reference.q_heads = q_heads;
  reference.scale = 1.0f / std::sqrt(static_cast<float>(host_kv.head_dim));
  reference.kv = host_kv;
  reference.lists = lists.view();
  std::vector<float> expected(elements);
  std::vector<float> expected_lse(rows);
  reference.output = expected.data();
  reference.lse = expected_lse.data();
  reference::decode_attention(reference);

  const DeviceBuffer keys(cache.keys());
  const DeviceBuffer values(cache.values());
  const DeviceBuffer page_table(cache.page_table());
  const DeviceBuffer lengths(std::span<const std::int32_t>(shape.cache.lengths));
  const DeviceBuffer device_key_scales{std::span<const float>(key_scales)};
  const DeviceBuffer device_value_scales{std::span<const float>(value_scales)};
  const DeviceBuffer granules(lists.granules());
  const DeviceBuffer counts(lists.counts());
  const std::vector<std::byte> query_bytes = stored(queries, shape.query_dtype);
  const DeviceBuffer device_queries{std::span<const std::byte>(query_bytes)};
  DeviceBuffer output(elements * static_cast<std::int64_t>(size_in_bytes(shape.output_dtype)));
  DeviceBuffer lse(rows * static_cast<std::int64_t>(sizeof(float)));

  cuda::DecodeParams params;
  params.queries = device_queries.data();
  params.query_dtype = shape.query_dtype;
  params.q_heads = q_heads;
  params.scale = reference.scale;
  params.kv = host_kv;
  params.kv.keys = keys.data();
  params.kv.values = values.data();
  params.kv.page_table = page_table.as<std::int32_t>();
  params.kv.lengths = lengths.as<std::int32_t>();
  if (host_kv.key_scales != nullptr) {
    params.kv.key_scales = device_key_scales.as<float>();
    params.kv.value_scales = device_value_scales.as<float>();
  }
  params.lists = lists.view();
  params.lists.granules = granules.as<std::int32_t>();
  params.lists.counts = counts.as<std::int32_t>();
  params.output = output.data();
  params.output_dtype = shape.output_dtype;
  params.lse = lse.as<float>();
  const cuda::DecodeGrid grid = cuda::decode_grid(host_kv.dtype, host_kv.head_dim);
  DeviceBuffer workspace(cuda::decode_workspace(params, grid));
  workspace.fill(0);
  params.workspace = workspace.data();
  params.workspace_bytes = workspace.bytes();

  Outcome outcome;
  std::vector<std::byte> first_bytes;
  std::vector<float> first_lse;
  for (int repeat = 0; repeat < 3 && outcome.problem.empty(); ++repeat) {
    output.fill(0xff);
    lse.fill(0xff);
    cuda::decode_attention(params, grid, nullptr);
    cuda::check(cudaDeviceSynchronize(), "decode attention");
    const std::vector<std::byte> bytes = output.read<std::byte>();
    const std::vector<float> got_lse = lse.read<float>();
    if (repeat == 0) {
      first_bytes = bytes;
      first_lse = got_lse;
      const double step =
          shape.cache.dtype == DType::kBF16 || shape.output_dtype == DType::kBF16 ? 4e-3 : 1e-3;
      outcome.problem = difference(got_lse, expected_lse, 1, 2e-4, outcome.worst_lse);
      if (!outcome.problem.empty()) outcome.problem = "lse: " + outcome.problem;
      const std::string wrong = difference(loaded(bytes, shape.output_dtype), expected,
                                           host_kv.head_dim, step, outcome.worst_output);
      if (!wrong.empty()) outcome.problem += " output: " + wrong;
    } else if (bytes != first_bytes ||
               std::memcmp(got_lse.data(), first_lse.data(), got_lse.size() * sizeof(float)) != 0) {
      outcome.problem = fmt::format("repeat {} gives other bits", repeat);
    }
  }
  if (!outcome.problem.empty()) return outcome;

  lse.fill(0xff);
  params.output = nullptr;
  params.kv.values = nullptr;
  cuda::decode_attention(params, grid, nullptr);
  cuda::check(cudaDeviceSynchronize(), "decode attention, lse only");
  outcome.problem = difference(lse.read<float>(), expected_lse, 1, 2e-4, outcome.worst_lse);
  if (!outcome.problem.empty()) outcome.problem = "lse only: " + outcome.problem;
  for (const DeviceBuffer* buffer : {&output, &lse, &workspace}) {
    if (!buffer->guards_intact()) outcome.problem += " writes past a buffer";
  }
  return outcome;
}

std::vector<Case> all_cases(int random_cases, Rng& rng) {
  std::vector<Case> cases;
  for (DType dtype : {DType::kBF16, DType::kF16, DType::kF8E4M3}) {
    for (int head_dim : {128, 64, 80, 96}) {
      Case plain;  // the simplest first: one list, one tile
      plain.cache = {dtype, 64, 1, head_dim, {16}};
      plain.group = 4;
      cases.push_back(plain);
      plain.cache.lengths = {200};
      plain.granule = 64;
      cases.push_back(plain);
      plain.cache.kv_heads = 2;
      plain.cache.lengths = {20000, 0, 40};
      plain.granule = one_of(rng, {1, 32});
      plain.share = 0.9;
      cases.push_back(plain);
    }
  }
  for (DType dtype : {DType::kBF16, DType::kF16, DType::kF8E4M3}) {  // one list, all blocks
    Case longest;
    longest.cache = {dtype, 64, 1, 128, {30000}};
    longest.group = 4;
    cases.push_back(longest);
  }
  Case many;  // more lists than blocks, and than threads of a block
  many.cache = {DType::kBF16, 32, 4, 64, {}};
  for (int s = 0; s < 200; ++s) many.cache.lengths.push_back(between(rng, 0, 130));
  many.share = 0.5;
  cases.push_back(many);
  for (int i = 0; i < random_cases; ++i) {
    cases.push_back(random_case(rng));
    cases.back().poisoned = i % 8 == 7 && cases.back().key_deviation <= 1.0f;
  }
  return cases;
}

int check_all(int random_cases, std::uint64_t seed) {
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
    fmt::print("no GPU here: skipped\n");
    return 77;
  }
  Rng rng(seed);
  int failed = check_refusals();
  std::map<DType, double> worst_output;
  double worst_lse = 0;
  const std::vector<Case> cases = all_cases(random_cases, rng);
  for (const Case& shape : cases) {
    const Outcome outcome = run(shape, rng);
    double& worst = worst_output[shape.cache.dtype];
    worst = std::max(worst, outcome.worst_output);
    worst_lse = std::max(worst_lse, outcome.worst_lse);
    std::string text = shape.text();
    if (text.size() > 160) text = text.substr(0, 160) + "...";
    if (outcome.problem.empty()) continue;
    ++failed;
    if (failed <= 12) fmt::print("FAILED {}\n       {}\n", text, outcome.problem);
  }
  fmt::print(
      "decode attention: {} cases, {} failed, seed {}; largest relative error of lse {:.2e}, of "
      "outputs",
      cases.size(), failed, seed, worst_lse);
  for (const auto& [dtype, worst] : worst_output) fmt::print(" {} {:.2e}", name(dtype), worst);
  fmt::print("\n");
  return failed == 0 ? 0 : 1;
}

}  // namespace
}  // namespace sinkrouter::cuda_tests

int main(int argc, char** argv) {
  try {
    const int cases = argc > 1 ? std::atoi(argv[1]) : 200;
    const std::uint64_t seed =
        argc > 2 ? std::strtoull(argv[2], nullptr, 10) : std::random_device{}();
    return sinkrouter::cuda_tests::check_all(cases, seed);
  } catch (const std::exception& error) {
    fmt::print(stderr, "decode_attention_check: {}\n", error.what());
    return 1;
  }
}
