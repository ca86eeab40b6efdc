#include "bench/kernels/timing.h"

#include <fmt/format.h>
#include <time.h>

#include <algorithm>
#include <chrono>
#include <numeric>

#include "base/dtype.h"

namespace sinkrouter {
namespace {

struct Sample {
  double wall;
  double processor;
};

double processor_seconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

Sample time_once(const std::function<void()>& work) {
  const double processor = processor_seconds();
  const auto begin = std::chrono::steady_clock::now();
  work();
  return {std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count(),
          processor_seconds() - processor};
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// Random values of a sensible size, cheaply: a table of normals read from random places.
template <typename T>
void fill_with_normals(T* to, std::int64_t count, Rng& rng) {
  constexpr std::int64_t kRun = 256;
  std::vector<T> table(1 << 16);
  for (T& x : table) x = from_float<T>(rng.normal());
  for (std::int64_t i = 0; i < count; i += kRun) {
    const auto from = static_cast<std::int64_t>(rng.below(table.size() - kRun));
    std::copy_n(table.begin() + from, std::min(kRun, count - i), to + i);
  }
}

}  // namespace

std::vector<Timing> time_in_turn(const std::vector<Contender>& contenders, int rounds) {
  std::vector<std::vector<double>> wall(contenders.size());
  std::vector<std::vector<double>> processor(contenders.size());
  for (const Contender& contender : contenders) contender.round();
  for (int round = 0; round < rounds; ++round) {
    for (std::size_t i = 0; i < contenders.size(); ++i) {
      const Sample sample = time_once(contenders[i].round);
      wall[i].push_back(sample.wall);
      processor[i].push_back(sample.processor);
    }
  }
  std::vector<Timing> timings;
  for (std::size_t i = 0; i < contenders.size(); ++i) {
    timings.push_back(
        {median(wall[i]), *std::min_element(wall[i].begin(), wall[i].end()), median(processor[i])});
  }
  return timings;
}

void print(const Contender& contender, const Timing& timing, double against) {
  fmt::print("  {:<28} {:9.3f} ms (best {:9.3f}, processor {:9.3f})", contender.name,
             timing.median * 1e3, timing.least * 1e3, timing.processor * 1e3);
  if (contender.bytes > 0) fmt::print("  {:7.2f} GB/s", contender.bytes / timing.median * 1e-9);
  if (contender.flops > 0) fmt::print("  {:7.1f} GFLOP/s", contender.flops / timing.median * 1e-9);
  if (contender.rows > 0) {
    fmt::print("  {:7.3f} G rows/s  {:7.1f} ns/block", contender.rows / timing.median * 1e-9,
               timing.median * 1e9 / contender.rows * kBlockSize);
  }
  if (against > 0) fmt::print("  {:.3f}", against);
  fmt::print("\n");
}

std::vector<float> random_floats(std::int64_t count, Rng& rng) {
  std::vector<float> values(count);
  for (float& x : values) x = rng.normal();
  return values;
}

CacheSet::CacheSet(const AttentionShape& shape, std::int64_t least_bytes)
    : shape_(shape),
      count_(static_cast<int>((least_bytes + bytes_each() - 1) / bytes_each())),
      pages_(shape.context / shape.page_size),
      length_(shape.context),
      keys_(bytes_each() / 2 * count_, true, "the benchmark's keys"),
      values_(bytes_each() / 2 * count_, true, "the benchmark's values"),
      codes_(
          std::int64_t{count_} * shape.kv_heads * (shape.context / kBlockSize) * 2 * shape.head_dim,
          true, "the benchmark's moments"),
      scales_(std::int64_t{count_} * shape.kv_heads * (shape.context / kBlockSize), 0.01f),
      page_table_(pages_) {
  std::iota(page_table_.begin(), page_table_.end(), 0);
  Rng rng(1);
  visit_dtype<float, BFloat16, Float16>(shape.dtype, [&]<typename T>() {
    const std::int64_t elements = bytes_each() / 2 * count_ / static_cast<int>(sizeof(T));
    fill_with_normals(keys_.as<T>(), elements, rng);
    fill_with_normals(values_.as<T>(), elements, rng);
  });
  auto* codes = codes_.as<std::uint8_t>();
  for (std::int64_t i = 0; i < codes_.bytes(); ++i) {
    codes[i] = static_cast<std::uint8_t>(rng.below(0x7f));
  }
}

std::int64_t CacheSet::bytes_each() const {
  return std::int64_t{2} * shape_.context * shape_.kv_heads * shape_.head_dim *
         static_cast<std::int64_t>(size_in_bytes(shape_.dtype));
}

KvView CacheSet::view(int index) const {
  KvView kv;
  const std::int64_t at = index * bytes_each() / 2;
  kv.keys = keys_.as<const std::byte>() + at;
  kv.values = values_.as<const std::byte>() + at;
  kv.dtype = shape_.dtype;
  kv.token_stride = shape_.head_dim;
  kv.head_stride = kv.token_stride * shape_.page_size;
  kv.page_stride = kv.head_stride * shape_.kv_heads;
  kv.page_size = shape_.page_size;
  kv.kv_heads = shape_.kv_heads;
  kv.head_dim = shape_.head_dim;
  kv.sequences = 1;
  kv.page_table = page_table_.data();
  kv.page_table_stride = pages_;
  kv.lengths = &length_;
  return kv;
}

MomentsView CacheSet::moments(int index) const {
  const std::int64_t blocks = std::int64_t{shape_.kv_heads} * (shape_.context / kBlockSize);
  return {codes_.as<const std::uint8_t>() + index * blocks * 2 * shape_.head_dim,
          scales_.data() + index * blocks};
}

RandomShare::RandomShare(const AttentionShape& shape, int granule, double share, Rng& rng)
    : granule_(granule), capacity_(shape.context / granule) {
  granules_.resize(capacity_ * shape.kv_heads);
  counts_.resize(shape.kv_heads);
  std::vector<std::int32_t> all(capacity_);
  const auto chosen = static_cast<std::int64_t>(share * static_cast<double>(capacity_) + 0.5);
  for (int head = 0; head < shape.kv_heads; ++head) {
    std::iota(all.begin(), all.end(), 0);
    for (std::int64_t i = 0; i < chosen; ++i) std::swap(all[i], all[i + rng.below(capacity_ - i)]);
    std::sort(all.begin(), all.begin() + chosen);
    std::copy_n(all.begin(), chosen, granules_.begin() + head * capacity_);
    counts_[head] = static_cast<std::int32_t>(chosen);
    rows_ += chosen * granule;
  }
}

GranuleLists RandomShare::view() { return {granules_.data(), counts_.data(), capacity_, granule_}; }

}  // namespace sinkrouter
