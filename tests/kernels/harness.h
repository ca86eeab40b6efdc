#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <ostream>
#include <span>
#include <string>
#include <vector>

#include "base/rng.h"
#include "kernels/params.h"

// Every kernel of every backend is compared with the reference through this file. A new backend
// is one more KernelBackend in all_backends().
namespace sinkrouter::kernel_tests {

struct KernelBackend {
  std::string name;
  std::function<std::int64_t(const DecodeAttentionParams&)> decode_workspace;
  std::function<void(const DecodeAttentionParams&)> decode_attention;
  std::function<void(const PrefillAttentionParams&)> prefill_attention;
  std::function<void(const BlockScoresParams&)> block_scores;
  std::function<void(const BoxBoundsParams&)> box_bounds;
  std::function<void(const KeyBoxParams&)> key_box;
  std::function<void(const RowLogitsParams&)> row_logits;
  std::function<void(const BlockMomentsParams&)> block_moments;
  std::function<void(const RowSketchesParams&)> row_sketches;
  std::function<void(const SketchQueriesParams&)> sketch_queries;
  std::function<void(const RowScoresParams&)> row_scores;
  std::function<void(const RowBoundsParams&)> row_bounds;
  std::function<void(const RmsNormParams&)> rms_norm;
  std::function<void(const RopeParams&)> rope;
  std::function<void(const SwigluParams&)> swiglu;
  std::function<void(const LinearParams&)> linear;
};

inline void PrintTo(const std::shared_ptr<const KernelBackend>& backend, std::ostream* out) {
  *out << backend->name;
}

// One per instruction set and thread count that this machine can run.
std::vector<std::shared_ptr<const KernelBackend>> all_backends();

// Runs its tests once per backend, each with a fresh seed.
class KernelTest : public testing::TestWithParam<std::shared_ptr<const KernelBackend>> {
 protected:
  KernelTest();
  const KernelBackend& backend() const { return *GetParam(); }
  int between(int low, int high);  // both included
  bool chance(double probability) { return rng.uniform() < probability; }
  template <typename T>
  T one_of(std::initializer_list<T> choices) {
    return choices.begin()[rng.below(choices.size())];
  }
  std::vector<float> normals(std::int64_t count, float deviation = 1.0f);

  std::uint64_t seed;
  Rng rng;

 private:
  testing::ScopedTrace trace_;
};

std::string backend_name(const testing::TestParamInfo<KernelTest::ParamType>& info);

// A buffer between guard zones, poisoned with a byte pattern until somebody writes it. As fp32 the
// poison is a NaN.
template <typename T>
class Guarded {
 public:
  explicit Guarded(std::int64_t count)
      : count_(count), bytes_(count * sizeof(T) + 2 * kGuardBytes + kAlignment, kPoison) {
    const auto address = reinterpret_cast<std::uintptr_t>(bytes_.data()) + kGuardBytes;
    begin_ = kGuardBytes + (kAlignment - address % kAlignment) % kAlignment;
  }

  T* data() { return reinterpret_cast<T*>(bytes_.data() + begin_); }
  std::int64_t size() const { return count_; }
  std::span<T> span() { return {data(), static_cast<std::size_t>(count_)}; }

  bool guards_intact() const {
    const std::size_t end = begin_ + count_ * sizeof(T);
    for (std::size_t i = 0; i < bytes_.size(); ++i) {
      if ((i < begin_ || i >= end) && bytes_[i] != kPoison) return false;
    }
    return true;
  }
  bool untouched(std::int64_t index) const {
    for (std::size_t i = 0; i < sizeof(T); ++i) {
      if (bytes_[begin_ + index * sizeof(T) + i] != kPoison) return false;
    }
    return true;
  }

 private:
  static constexpr std::size_t kGuardBytes = 128;
  static constexpr std::size_t kAlignment = 64;
  static constexpr std::uint8_t kPoison = 0xff;

  std::int64_t count_;
  std::vector<std::uint8_t> bytes_;
  std::size_t begin_ = 0;
};

// ||actual - expected|| <= tolerance * ||expected||, NaN and infinities in the same places.
testing::AssertionResult close(std::span<const float> actual, std::span<const float> expected,
                               double tolerance);

// Stored elements of `dtype` with these values (rounded to nearest even).
std::vector<std::byte> stored(std::span<const float> values, DType dtype);

}  // namespace sinkrouter::kernel_tests
