#include "base/aligned_array.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <utility>

namespace sinkrouter {
namespace {

template <typename T>
bool on_cache_line(const AlignedArray<T>& array) {
  return reinterpret_cast<std::uintptr_t>(array.data()) % 64 == 0;
}

TEST(AlignedArray, StartsEmpty) {
  const AlignedArray<float> array;
  EXPECT_EQ(array.size(), 0);
  EXPECT_EQ(array.data(), nullptr);
}

TEST(AlignedArray, EverySizeStartsOnACacheLineAndIsWritable) {
  for (std::int64_t count = 1; count < 300; count += 7) {
    AlignedArray<std::byte> array;
    array.reserve(count);
    ASSERT_EQ(array.size(), count);
    ASSERT_TRUE(on_cache_line(array));
    for (std::int64_t i = 0; i < count; ++i) array[i] = std::byte{0xab};
    ASSERT_EQ(std::as_const(array)[count - 1], std::byte{0xab});
  }
}

TEST(AlignedArray, GrowsAndNeverShrinks) {
  AlignedArray<double> array;
  array.reserve(10);
  const double* const address = array.data();
  array[9] = 2.5;
  array.reserve(3);
  EXPECT_EQ(array.size(), 10);
  EXPECT_EQ(array.data(), address);
  EXPECT_EQ(array[9], 2.5);
  array.reserve(1000);
  EXPECT_EQ(array.size(), 1000);
  EXPECT_TRUE(on_cache_line(array));
  array[999] = 1;
}

}  // namespace
}  // namespace sinkrouter
