#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "base/rng.h"
#include "kernels/cuda/router_step.h"
#include "kv/kv_view.h"

// Random caches, queries and policies for the checks of the router's kernels.
namespace sinkrouter::cuda_tests {

using cuda::RouterRule;

inline constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
inline constexpr float kInfinity = std::numeric_limits<float>::infinity();

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

Case draw_case(Rng& rng);
std::string describe(const Case& c);

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

Host draw_host(const Case& c, Rng& rng);

// Stores x as element `index` of data of a dtype.
void put(std::vector<std::uint8_t>& data, DType dtype, std::int64_t index, float x);
std::int64_t block_index(const Case& c, const Host& h, int s, int head, int block);

// Within a tolerance of the larger of 1 and |want|; NaN goes with NaN, an infinity with itself.
bool near(float got, float want, float tolerance);
std::string entry(const char* what, std::int64_t at, double got, double want);

// Counts what differs, and prints the first few of each case.
class Report {
 public:
  void start(std::uint64_t seed, const std::string& words) {
    seed_ = seed;
    case_ = words;
    printed_ = 0;
  }
  void fail(const char* stage, const std::string& what) {
    constexpr int kMostPrinted = 12;
    ++failures_;
    if (++printed_ > kMostPrinted) return;
    fmt::print("FAIL seed {} {} | {}: {}\n", seed_, case_, stage, what);
  }
  int failures() const { return failures_; }

 private:
  std::uint64_t seed_ = 0;
  std::string case_;
  int printed_ = 0;
  int failures_ = 0;
};

}  // namespace sinkrouter::cuda_tests
