// Prints how fast each CPU kernel runs here. Bandwidths are held against a plain read loop over as
// much memory, timed in the same rounds.
#include <fmt/format.h>
#include <hwy/targets.h>

#include <cmath>
#include <cstdlib>
#include <string>

#include "base/dtype.h"
#include "bench/kernels/sketch_bench.h"
#include "bench/kernels/timing.h"
#include "bench/memory_read.h"
#include "kernels/cpu/cpu.h"

namespace sinkrouter {
namespace {

void bench_decode(const AttentionShape& shape, ThreadPool& threads) {
  fmt::print("decode attention, {} q / {} kv heads, d={}, {}, {} tokens ({} rows a granule)\n",
             shape.q_heads, shape.kv_heads, shape.head_dim, name(shape.dtype), shape.context, 32);
  Rng rng(7);
  const CacheSet caches(shape, kFootprint);
  const double all_bytes = static_cast<double>(caches.bytes_each()) * caches.count();
  MemoryRead memory(caches.bytes_each() * caches.count(), 3);
  const std::vector<float> queries =
      random_floats(std::int64_t{shape.q_heads} * shape.head_dim, rng);
  std::vector<float> output(queries.size());
  const std::int64_t workspace_bytes = cpu::decode_attention_workspace(
      1, shape.q_heads, shape.kv_heads, shape.head_dim, threads.size());
  const VirtualMemory workspace(workspace_bytes, false, "the workspace");
  const int blocks = shape.context / kBlockSize;
  std::vector<float> scores(std::int64_t{shape.q_heads} * blocks);

  const auto attend = [&](GranuleLists lists) {
    for (int i = 0; i < caches.count(); ++i) {
      DecodeAttentionParams params;
      params.queries = queries.data();
      params.q_heads = shape.q_heads;
      params.scale = 1.0f / std::sqrt(static_cast<float>(shape.head_dim));
      params.kv = caches.view(i);
      params.lists = lists;
      params.output = output.data();
      params.workspace = workspace.as<std::byte>();
      params.workspace_bytes = workspace_bytes;
      cpu::decode_attention(params, threads);
    }
  };

  std::vector<Contender> contenders;
  contenders.push_back({"read loop", all_bytes, 0, [&] { memory.pass(threads); }});
  RandomShare everything(shape, 32, 1.0, rng);
  contenders.push_back({"dense", all_bytes, 0, [&] { attend(everything.view()); }});
  std::vector<RandomShare> routed;
  for (const int granule : {32, 1}) {
    for (const double share : {0.1, 0.2, 0.3}) routed.emplace_back(shape, granule, share, rng);
  }
  for (RandomShare& lists : routed) {
    const double share = static_cast<double>(lists.rows()) / everything.rows();
    contenders.push_back({fmt::format("granule {:2}, share {:.3f}", lists.view().granule, share),
                          all_bytes * share, 0, [&] { attend(lists.view()); }});
  }
  contenders.push_back({"block scores", all_bytes / 64, 0, [&] {
                          for (int i = 0; i < caches.count(); ++i) {
                            BlockScoresParams params;
                            params.queries = queries.data();
                            params.q_heads = shape.q_heads;
                            params.scale = 0.125f;
                            params.kv = caches.view(i);
                            params.moments = caches.moments(i);
                            params.scores = scores.data();
                            params.score_stride = blocks;
                            cpu::block_scores(params, threads);
                          }
                        }});

  const std::vector<Timing> timings = time_in_turn(contenders, 9);
  print(contenders[0], timings[0], 0);
  fmt::print(
      "  last column: bandwidth over the read loop's, time over share of dense, "
      "time over dense\n");
  print(contenders[1], timings[1], timings[0].median / timings[1].median);
  for (std::size_t i = 2; i < contenders.size(); ++i) {
    double share = 1;
    if (i - 2 < routed.size()) {
      share = static_cast<double>(routed[i - 2].rows()) / everything.rows();
    }
    print(contenders[i], timings[i], timings[i].median / (share * timings[1].median));
  }
}

void bench_prefill(const AttentionShape& shape, ThreadPool& threads) {
  Rng rng(11);
  fmt::print("prefill attention, {} q / {} kv heads, d={}, {}\n", shape.q_heads, shape.kv_heads,
             shape.head_dim, name(shape.dtype));
  const CacheSet caches(shape, 1);
  cpu::Scratch scratch;
  std::vector<Contender> contenders;
  const int tokens = 512;
  const std::vector<float> queries =
      random_floats(std::int64_t{tokens} * shape.q_heads * shape.head_dim, rng);
  std::vector<float> output(queries.size());
  for (const int first : {0, 4096, shape.context - tokens}) {
    const double pairs = static_cast<double>(tokens) * (first + (tokens + 1) / 2.0);
    contenders.push_back({fmt::format("{} tokens at {}", tokens, first), 0,
                          pairs * shape.q_heads * shape.head_dim * 4, [&, first] {
                            PrefillAttentionParams params;
                            params.queries = queries.data();
                            params.tokens = tokens;
                            params.first_position = first;
                            params.q_heads = shape.q_heads;
                            params.scale = 0.125f;
                            params.kv = caches.view(0);
                            params.output = output.data();
                            cpu::prefill_attention(params, threads, scratch);
                          }});
  }
  const std::vector<Timing> timings = time_in_turn(contenders, 5);
  for (std::size_t i = 0; i < contenders.size(); ++i) print(contenders[i], timings[i], 0);
}

void bench_linear(int inputs, int outputs, DType dtype, ThreadPool& threads) {
  Rng rng(13);
  fmt::print("linear, {} x {} {}\n", outputs, inputs, name(dtype));
  const std::int64_t weight_bytes =
      std::int64_t{inputs} * outputs * static_cast<std::int64_t>(size_in_bytes(dtype));
  const auto copies = static_cast<int>(std::max<std::int64_t>(1, kFootprint / weight_bytes));
  const VirtualMemory weights(weight_bytes * copies, true, "the benchmark's weights");
  MemoryRead memory(weight_bytes * copies, 3);
  auto* words = weights.as<std::uint16_t>();
  for (std::int64_t i = 0; i < weights.bytes() / 2; ++i) {
    words[i] = from_float<BFloat16>(static_cast<float>(i % 255) * 0.01f + 0.1f).bits;
  }
  const std::vector<float> input = random_floats(std::int64_t{512} * inputs, rng);
  std::vector<float> output(std::int64_t{512} * outputs);
  cpu::Scratch scratch;
  std::vector<Contender> contenders;
  const double bytes = static_cast<double>(weight_bytes) * copies;
  contenders.push_back({"read loop", bytes, 0, [&] { memory.pass(threads); }});
  for (const int tokens : {1, 4, 16, 64, 512}) {
    const int used = tokens > 16 ? std::max(1, copies / tokens) : copies;
    contenders.push_back({fmt::format("{} tokens", tokens),
                          static_cast<double>(weight_bytes) * used,
                          2.0 * tokens * inputs * outputs * used, [&, tokens, used] {
                            for (int i = 0; i < used; ++i) {
                              LinearParams params;
                              params.input = input.data();
                              params.weight = weights.as<std::byte>() + i * weight_bytes;
                              params.weight_dtype = dtype;
                              params.tokens = tokens;
                              params.inputs = inputs;
                              params.outputs = outputs;
                              params.output = output.data();
                              cpu::linear(params, threads, scratch);
                            }
                          }});
  }
  const std::vector<Timing> timings = time_in_turn(contenders, 5);
  for (std::size_t i = 0; i < contenders.size(); ++i) print(contenders[i], timings[i], 0);
}

void run(int thread_count, const std::string& section) {
  ThreadPool threads(thread_count);
  fmt::print("{} threads, {}\n", threads.size(), cpu::instruction_set());
  const AttentionShape small;
  const AttentionShape large{32, 8, 128, DType::kBF16, 32768, 64};
  const bool all = section == "all";
  if (all || section == "decode") {
    bench_decode(small, threads);
    bench_decode(large, threads);
  }
  if (all || section == "sketches") {
    for (const int bits : {2, 4}) {
      bench_sketches(small, bits, threads);
      bench_sketches(large, bits, threads);
    }
  }
  if (all || section == "prefill") {
    bench_prefill(small, threads);
    bench_prefill(large, threads);
  }
  if (all || section == "linear") {
    bench_linear(512, 1408, DType::kBF16, threads);
    bench_linear(1024, 4096, DType::kF32, threads);
  }
}

}  // namespace
}  // namespace sinkrouter

int main(int argc, char** argv) {
  try {
    const std::string most = argc > 3 ? argv[3] : "";
    if (most == "avx2") hwy::DisableTargets(HWY_AVX3 | HWY_AVX3_DL);
    if (most == "avx3") hwy::DisableTargets(HWY_AVX3_DL);
    sinkrouter::run(argc > 1 ? std::atoi(argv[1]) : 0, argc > 2 ? argv[2] : "all");
  } catch (const sinkrouter::Error& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
  return 0;
}
