#include "base/loop_gate.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

namespace sinkrouter {
namespace {

TEST(LoopGate, LetsInWhoeverComesToTheLoopThatIsOpen) {
  LoopGate gate;
  EXPECT_FALSE(gate.enter(0)) << "no loop yet";
  gate.open(1);
  EXPECT_FALSE(gate.enter(0));
  EXPECT_FALSE(gate.enter(2));
  EXPECT_TRUE(gate.enter(1));
  EXPECT_TRUE(gate.enter(1));
  gate.leave();
  gate.leave();
  EXPECT_TRUE(gate.enter(1));
}

TEST(LoopGate, NobodyEntersOnceItIsClosed) {
  LoopGate gate;
  for (std::uint32_t loop : {1u, 2u, 0x7fffffffu, 0x80000000u, 0xffffffffu, 0u}) {
    gate.open(loop);
    ASSERT_TRUE(gate.enter(loop));
    gate.leave();
    gate.close();
    ASSERT_FALSE(gate.enter(loop)) << "late for loop " << loop;
    ASSERT_FALSE(gate.enter(loop + 1)) << "early for loop " << loop + 1;
  }
}

TEST(LoopGate, ClosingWaitsForThoseInsideAndForNobodyElse) {
  LoopGate gate;
  gate.open(7);
  ASSERT_TRUE(gate.enter(7));
  std::atomic<bool> closed{false};
  std::thread owner([&] {
    gate.close();
    closed = true;
  });
  // Until the owner comes to close it, the gate still lets others in and out.
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  while (gate.enter(7)) {
    gate.leave();
    if (std::chrono::steady_clock::now() < deadline) continue;
    ADD_FAILURE() << "it stays open";
    break;
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_FALSE(closed);
  gate.leave();
  owner.join();
  EXPECT_TRUE(closed);
}

// With more workers than cores most of them are late for most loops.
TEST(LoopGate, WhatTheOwnerDoesBetweenLoopsIsNeverSeenInside) {
  constexpr std::uint32_t kLoops = 200;
  LoopGate gate;
  std::atomic<std::uint32_t> current{0};
  bool between = true;  // not atomic: whoever is inside may read it
  std::atomic<int> intruders{0};
  std::vector<std::thread> workers;
  for (int worker = 0; worker < 4; ++worker) {
    workers.emplace_back([&] {
      for (std::uint32_t loop = 0; loop < kLoops; loop = current.load()) {
        if (!gate.enter(loop)) {
          std::this_thread::yield();
          continue;
        }
        if (between) ++intruders;
        gate.leave();
      }
    });
  }
  for (std::uint32_t loop = 1; loop <= kLoops; ++loop) {
    between = false;
    gate.open(loop);
    current = loop;
    if (loop % 16 == 0) std::this_thread::yield();
    gate.close();
    between = true;
  }
  for (std::thread& worker : workers) worker.join();
  EXPECT_EQ(intruders, 0);
}

}  // namespace
}  // namespace sinkrouter
