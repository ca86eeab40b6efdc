#include "base/threads.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "sinkrouter/error.h"

namespace sinkrouter {
namespace {

constexpr int kThreadCounts[] = {1, 2, 3, 8};

TEST(ThreadPool, CallsEveryIndexOnceOnAKnownWorker) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  for (int threads : kThreadCounts) {
    ThreadPool pool(threads);
    ASSERT_EQ(pool.size(), threads);
    for (int round = 0; round < 50; ++round) {
      const int count = std::uniform_int_distribution<int>(1, 2000)(random);
      std::vector<std::atomic<int>> calls(count);
      std::atomic<bool> worker_in_range{true};
      pool.run(count, [&](int index, int worker) {
        calls[index].fetch_add(1, std::memory_order_relaxed);
        if (worker < 0 || worker >= threads) worker_in_range = false;
      });
      ASSERT_TRUE(worker_in_range);
      for (int index = 0; index < count; ++index) ASSERT_EQ(calls[index], 1) << index;
    }
  }
}

TEST(ThreadPool, AWorkerNumberBelongsToOneThreadAndZeroToTheCaller) {
  ThreadPool pool(3);
  std::vector<std::thread::id> owner(3);
  owner[0] = std::this_thread::get_id();
  std::atomic<int> strangers{0};
  for (int round = 0; round < 20; ++round) {
    pool.run(64, [&](int, int worker) {
      // Each element is only ever touched by the thread it names, so this needs
      // no lock.
      if (owner[worker] == std::thread::id()) owner[worker] = std::this_thread::get_id();
      if (owner[worker] != std::this_thread::get_id()) ++strangers;
    });
  }
  EXPECT_EQ(strangers, 0);
}

TEST(ThreadPool, ResultsAreVisibleToTheCallerAndToTheNextLoop) {
  for (int threads : kThreadCounts) {
    ThreadPool pool(threads);
    std::vector<int> values(512, 0);
    for (int round = 1; round <= 100; ++round) {
      const auto size = static_cast<int>(values.size());
      pool.run(size, [&](int index, int) { ++values[size - 1 - index]; });
      for (int value : values) ASSERT_EQ(value, round);
    }
  }
}

TEST(ThreadPool, ReturnsOnlyWhenTheLastTaskIsDone) {
  ThreadPool pool(2);
  std::atomic<int> begun{0};
  std::atomic<int> done{0};
  pool.run(2, [&](int, int worker) {
    ++begun;
    while (begun < 2) std::this_thread::yield();
    if (worker != 0) std::this_thread::sleep_for(std::chrono::milliseconds(30));
    ++done;
  });
  EXPECT_EQ(done, 2);
}

TEST(ThreadPool, ManyShortLoops) {
  ThreadPool pool(2);
  std::atomic<std::int64_t> sum{0};
  std::int64_t expected = 0;
  constexpr int kLoops = 5000;
  for (int loop = 0; loop < kLoops; ++loop) {
    const int count = loop % 5;
    expected += std::int64_t{count} * (count - 1) / 2;
    pool.run(count, [&](int index, int) { sum.fetch_add(index, std::memory_order_relaxed); });
  }
  EXPECT_EQ(sum, expected);
}

TEST(ThreadPool, WakesAfterItsWorkersWentToSleep) {
  ThreadPool pool(4);
  for (int round = 0; round < 5; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    std::atomic<int> calls{0};
    pool.run(100, [&](int, int) { ++calls; });
    ASSERT_EQ(calls, 100);
  }
}

TEST(ThreadPool, NothingToDoCallsNothing) {
  ThreadPool pool(2);
  for (int count : {0, -1, -1000}) {
    pool.run(count, [](int, int) { FAIL() << "called"; });
  }
}

TEST(ThreadPool, RethrowsWhatATaskThrowsAndStaysUsable) {
  for (int threads : kThreadCounts) {
    ThreadPool pool(threads);
    for (int bad : {0, 1, 57, 99}) {
      try {
        pool.run(100, [&](int index, int) {
          if (index == bad) throw std::runtime_error("task " + std::to_string(index));
        });
        ADD_FAILURE() << "nothing thrown";
      } catch (const std::runtime_error& error) {
        EXPECT_EQ(error.what(), "task " + std::to_string(bad));
      }
      std::atomic<int> calls{0};
      pool.run(100, [&](int, int) { ++calls; });
      EXPECT_EQ(calls, 100);
    }
  }
}

TEST(ThreadPool, WhenEveryTaskThrowsOneErrorArrives) {
  ThreadPool pool(4);
  for (int round = 0; round < 200; ++round) {
    std::vector<std::atomic<int>> calls(64);
    EXPECT_THROW(pool.run(64,
                          [&](int index, int) {
                            ++calls[index];
                            throw Error(Error::Kind::kInvalidFile, "bad");
                          }),
                 Error);
    EXPECT_TRUE(std::all_of(calls.begin(), calls.end(), [](const auto& n) { return n <= 1; }));
  }
}

TEST(ThreadPool, StopsHandingOutWorkAfterAnError) {
  ThreadPool pool(1);
  int calls = 0;
  EXPECT_THROW(pool.run(1000,
                        [&](int index, int) {
                          ++calls;
                          if (index == 10) throw std::runtime_error("stop");
                        }),
               std::runtime_error);
  EXPECT_EQ(calls, 11);
}

TEST(ThreadPool, ComesAndGoesWithAndWithoutWork) {
  for (int round = 0; round < 50; ++round) {
    ThreadPool idle(3);
    ThreadPool busy(3);
    std::atomic<int> calls{0};
    busy.run(10, [&](int, int) { ++calls; });
    ASSERT_EQ(calls, 10);
  }
}

TEST(ThreadPool, PoolsOfDifferentThreadsDoNotDisturbEachOther) {
  std::vector<std::thread> callers;
  std::atomic<int> calls{0};
  for (int caller = 0; caller < 3; ++caller) {
    callers.emplace_back([&] {
      ThreadPool pool(2);
      for (int loop = 0; loop < 200; ++loop) pool.run(7, [&](int, int) { ++calls; });
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(calls, 3 * 200 * 7);
}

TEST(ThreadPool, ZeroTakesEveryCoreAndNonsenseIsRefused) {
  EXPECT_GE(ThreadPool(0).size(), 1);
  for (int threads : {-1, 1025, 1 << 30}) {
    try {
      ThreadPool pool(threads);
      ADD_FAILURE() << "accepted " << threads;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), Error::Kind::kInvalidArgument);
      EXPECT_EQ(error.what(), "thread count " + std::to_string(threads) +
                                  " is out of range: expected 0 (all cores) to 1024");
    }
  }
}

}  // namespace
}  // namespace sinkrouter
