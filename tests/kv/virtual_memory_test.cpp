#include "kv/virtual_memory.h"

#include <gtest/gtest.h>

#include <limits>

#include "kv/cache_fixture.h"

namespace sinkrouter::test {
namespace {

TEST(VirtualMemory, IsZeroedAlignedAndMovable) {
  VirtualMemory memory(std::int64_t{64} << 30, true, "test");
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(memory.data()) % (2u << 20), 0u);
  std::byte* const address = memory.data();
  address[memory.bytes() - 1] = std::byte{7};
  EXPECT_EQ(address[0], std::byte{0});
  VirtualMemory moved = std::move(memory);
  EXPECT_EQ(moved.data(), address);
  EXPECT_EQ(moved.data()[moved.bytes() - 1], std::byte{7});
  moved = VirtualMemory(4096, false, "test");
  EXPECT_EQ(moved.bytes(), 4096);
  EXPECT_EQ(VirtualMemory(0, true, "test").data(), nullptr);
}

TEST(VirtualMemory, RefusesMoreThanAnAddressSpace) {
  std::string message;
  EXPECT_EQ(error_kind([] { VirtualMemory(std::int64_t{1} << 50, true, "the keys"); }, &message),
            Error::Kind::kInvalidArgument);
  EXPECT_NE(message.find("the keys"), std::string::npos);
  EXPECT_EQ(error_kind([] { VirtualMemory((std::int64_t{1} << 47) - 4096, true, "the keys"); }),
            Error::Kind::kOutOfCapacity);
}

TEST(VirtualMemory, MultiplicationIsChecked) {
  constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();
  EXPECT_EQ(checked_multiply(kMax, 1, "x"), kMax);
  EXPECT_EQ(checked_multiply(0, kMax, "x"), 0);
  EXPECT_EQ(error_kind([] { checked_multiply(kMax / 2 + 1, 2, "x"); }),
            Error::Kind::kInvalidArgument);
}

}  // namespace
}  // namespace sinkrouter::test
