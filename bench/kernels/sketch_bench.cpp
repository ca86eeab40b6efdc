#include "bench/kernels/sketch_bench.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/aligned_array.h"
#include "base/dtype.h"
#include "bench/memory_read.h"
#include "kernels/cpu/cpu.h"

namespace sinkrouter {
namespace {

// Sketches and moments of several contexts with random contents, pages in order or shuffled.
class SketchSet {
 public:
  SketchSet(const AttentionShape& shape, int bits, std::int64_t least_bytes, Rng& rng)
      : shape_(shape),
        bits_(bits),
        count_(static_cast<int>((least_bytes + bytes_each() - 1) / bytes_each())),
        length_(shape.context),
        codes_(blocks() * block_words() * 4 * count_, true, "the benchmark's sketches"),
        scales_(blocks() * kBlockSize * 2 * count_, true, "the benchmark's scales"),
        moments_(blocks() * 2 * shape.head_dim * count_, true, "the benchmark's moments"),
        moment_scales_(blocks() * count_, 0.01f),
        pages_(shape.context / shape.page_size) {
    std::uint32_t state = 12345;
    for (std::int64_t i = 0; i < codes_.bytes() / 4; ++i) {
      codes_.as<std::uint32_t>()[i] = state = state * 1664525 + 1013904223;
    }
    std::fill_n(scales_.as<std::uint16_t>(), scales_.bytes() / 2, from_float<Float16>(0.7f).bits);
    std::fill_n(moments_.as<std::uint8_t>(), moments_.bytes(), std::uint8_t{0x35});
    std::iota(pages_.begin(), pages_.end(), 0);
    shuffled_ = pages_;
    for (std::size_t i = pages_.size() - 1; i > 0; --i) {
      std::swap(shuffled_[i], shuffled_[rng.below(i + 1)]);
    }
  }

  int count() const { return count_; }
  std::int64_t bytes_each() const { return blocks() * block_bytes(); }
  // What scoring a block reads: codes, scales, the mean and its scale.
  std::int64_t block_bytes() const {
    return block_words() * 4 + kBlockSize * 2 + shape_.head_dim + 4;
  }

  void set(int index, bool shuffled, RowScoresParams& params) const {
    params.q_heads = shape_.q_heads;
    params.kv.page_size = shape_.page_size;
    params.kv.kv_heads = shape_.kv_heads;
    params.kv.head_dim = shape_.head_dim;
    params.kv.sequences = 1;
    params.kv.page_table = shuffled ? shuffled_.data() : pages_.data();
    params.kv.page_table_stride = static_cast<std::int64_t>(pages_.size());
    params.kv.lengths = &length_;
    params.moments = {moments_.as<const std::uint8_t>() + index * blocks() * 2 * shape_.head_dim,
                      moment_scales_.data() + index * blocks()};
    params.sketches.bits = bits_;
    params.sketches.codes = codes_.as<const std::uint32_t>() + index * blocks() * block_words();
    params.sketches.scales = scales_.as<const Float16>() + index * blocks() * kBlockSize;
  }

 private:
  std::int64_t blocks() const {
    return std::int64_t{shape_.kv_heads} * (shape_.context / kBlockSize);
  }
  std::int64_t block_words() const {
    return std::int64_t{shape_.head_dim} * bits_ / 32 * kBlockSize;
  }

  AttentionShape shape_;
  int bits_;
  int count_;
  std::int32_t length_;
  VirtualMemory codes_;
  VirtualMemory scales_;
  VirtualMemory moments_;
  std::vector<float> moment_scales_;
  std::vector<std::int32_t> pages_;
  std::vector<std::int32_t> shuffled_;
};

}  // namespace

void bench_sketches(const AttentionShape& shape, int bits, ThreadPool& threads) {
  const int group = shape.q_heads / shape.kv_heads;
  fmt::print("sketches, {} bits, {} q / {} kv heads, d={}, {} tokens\n", bits, shape.q_heads,
             shape.kv_heads, shape.head_dim, shape.context);
  Rng rng(17);
  const SketchSet sketches(shape, bits, kFootprint, rng);
  MemoryRead memory(sketches.bytes_each() * sketches.count(), 3);
  const std::vector<float> queries =
      random_floats(std::int64_t{shape.q_heads} * shape.head_dim, rng);
  const std::vector<float> rotation =
      random_floats(std::int64_t{shape.head_dim} * shape.head_dim, rng);
  std::vector<std::int8_t> query_codes(queries.size());
  std::vector<float> steps(shape.q_heads);
  SketchQueriesParams encode_queries;
  encode_queries.queries = queries.data();
  encode_queries.rotation = rotation.data();
  encode_queries.rows = group;
  encode_queries.head_dim = shape.head_dim;
  encode_queries.codes = query_codes.data();
  encode_queries.steps = steps.data();
  AlignedArray<float> scores;
  scores.reserve(std::int64_t{shape.q_heads} * shape.context);

  enum class Order { kPages, kShuffled, kSameAgain };
  const auto score = [&](GranuleLists blocks, Order order) {
    for (int i = 0; i < sketches.count(); ++i) {
      RowScoresParams params;
      sketches.set(order == Order::kSameAgain ? 0 : i, order == Order::kShuffled, params);
      params.queries = queries.data();
      params.query_codes = query_codes.data();
      params.query_steps = steps.data();
      params.scale = 0.125f;
      params.blocks = blocks;
      params.scores = scores.data();
      params.score_stride = shape.context;
      cpu::row_scores(params, threads);
    }
  };

  std::vector<Contender> contenders;
  const double all_bytes = static_cast<double>(sketches.bytes_each()) * sketches.count();
  contenders.push_back({"read loop", all_bytes, 0, [&] { memory.pass(threads); }});
  std::vector<RandomShare> lists;
  for (const double share : {1.0, 0.3, 0.05}) lists.emplace_back(shape, kBlockSize, share, rng);
  for (const Order order : {Order::kPages, Order::kShuffled, Order::kSameAgain}) {
    const char* text = order == Order::kPages      ? ""
                       : order == Order::kShuffled ? " shuffled"
                                                   : " cached";
    for (RandomShare& list : lists) {
      const double share = static_cast<double>(list.rows()) / static_cast<double>(lists[0].rows());
      const double rows = static_cast<double>(list.rows()) * sketches.count();
      contenders.push_back({fmt::format("row scores, share {:.2f}{}", share, text),
                            rows / kBlockSize * static_cast<double>(sketches.block_bytes()), 0,
                            [&, order] { score(list.view(), order); }, rows});
    }
  }

  // Encoding, one block after another on each thread.
  const CacheSet caches(shape, 1);
  const int blocks = shape.kv_heads * (shape.context / kBlockSize);
  const std::vector<std::uint8_t> means(shape.head_dim, 0x35);
  const std::int64_t block_words = std::int64_t{shape.head_dim} * bits / 32 * kBlockSize;
  std::vector<std::uint32_t> codes(blocks * block_words);
  std::vector<Float16> scales(std::int64_t{blocks} * kBlockSize);
  const auto encode = [&](int block, int) {
    RowSketchesParams params;
    params.keys = static_cast<const std::byte*>(caches.view(0).keys) +
                  std::int64_t{block} * kBlockSize * shape.head_dim *
                      static_cast<std::int64_t>(size_in_bytes(shape.dtype));
    params.dtype = shape.dtype;
    params.token_stride = shape.head_dim;
    params.head_dim = shape.head_dim;
    params.mean_codes = means.data();
    params.mean_scale = 0.01f;
    params.rotation = rotation.data();
    params.bits = bits;
    params.codes = codes.data() + block * block_words;
    params.scales = scales.data() + std::int64_t{block} * kBlockSize;
    cpu::row_sketches(params);
  };
  const double macs = static_cast<double>(shape.head_dim) * shape.head_dim;
  contenders.push_back({"row sketches", 0, 2 * macs * blocks * kBlockSize,
                        [&] { threads.run(blocks, encode); },
                        static_cast<double>(blocks) * kBlockSize});
  constexpr int kCalls = 1000;
  contenders.push_back(
      {fmt::format("sketch queries, {} x {}", kCalls, group), 0, 2 * macs * group * kCalls, [&] {
         for (int i = 0; i < kCalls; ++i) cpu::sketch_queries(encode_queries);
       }});

  const std::vector<Timing> timings = time_in_turn(contenders, 7);
  for (std::size_t i = 0; i < contenders.size(); ++i) print(contenders[i], timings[i], 0);
}

}  // namespace sinkrouter
