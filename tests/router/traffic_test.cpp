#include "router/traffic.h"

#include <gtest/gtest.h>

namespace sinkrouter::test {
namespace {

TEST(Traffic, TheLastGranuleIsCutByTheLength) {
  const std::int32_t list[] = {0, 3, 15};
  EXPECT_EQ(listed_rows(list, 0, 64, 1000), 0);
  EXPECT_EQ(listed_rows(list, 2, 64, 1000), 128);
  EXPECT_EQ(listed_rows(list, 3, 64, 1000), 64 + 64 + 40);
  EXPECT_EQ(listed_rows(list, 3, 64, 1024), 192);
  EXPECT_EQ(listed_rows(list, 1, 64, 5), 5);
  EXPECT_EQ(listed_rows(list, 3, 64, 1023), 191);
  EXPECT_EQ(listed_rows(list, 3, 1, 16), 3);
}

TEST(Traffic, BytesFollowTheDefinition) {
  EXPECT_EQ(row_bytes(10, 64, 2), 10 * 2 * 64 * 2);
  EXPECT_EQ(row_bytes(std::int64_t{1} << 30, 128, 4), std::int64_t{1} << 40);
  EXPECT_EQ(moments_bytes(31, 64), 0);
  EXPECT_EQ(moments_bytes(32, 64), 2 * 64 + 4);
  EXPECT_EQ(moments_bytes(100, 128), 3 * (2 * 128 + 4));
  EXPECT_EQ(boxes_bytes(31, 64), 0);
  EXPECT_EQ(boxes_bytes(100, 128), 3 * 2 * 128 * 2);
  EXPECT_EQ(sketch_bytes(0, 64, 2), 0);
  EXPECT_EQ(sketch_bytes(3, 64, 2), 3 * 32 * (16 + 2));
  EXPECT_EQ(sketch_bytes(1 << 20, 128, 4), (std::int64_t{1} << 25) * (64 + 2));
}

}  // namespace
}  // namespace sinkrouter::test
