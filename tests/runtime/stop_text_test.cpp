#include "runtime/stop_text.h"

#include <gtest/gtest.h>

namespace sinkrouter {
namespace {

TEST(StopText, LetsEverythingThroughWithoutStops) {
  StopTextFilter filter({});
  EXPECT_EQ(filter.push("abc"), "abc");
  EXPECT_EQ(filter.flush(), "");
  EXPECT_FALSE(filter.stopped());
}

TEST(StopText, CutsBeforeTheFirstEvenAcrossPieces) {
  StopTextFilter filter({"END", "\n\n"});
  EXPECT_EQ(filter.push("one E"), "one ");
  EXPECT_EQ(filter.push("N"), "");
  EXPECT_EQ(filter.push("Dtwo"), "");
  EXPECT_TRUE(filter.stopped());
  EXPECT_EQ(filter.push("more"), "");
  EXPECT_EQ(filter.flush(), "");
}

TEST(StopText, GivesBackWhatOnlyLookedLikeAStop) {
  StopTextFilter filter({"abab"});
  EXPECT_EQ(filter.push("xab"), "x");
  EXPECT_EQ(filter.push("ac"), "abac");
  EXPECT_EQ(filter.push("aba"), "");
  EXPECT_EQ(filter.flush(), "aba");
  EXPECT_FALSE(filter.stopped());
}

TEST(StopText, EmptyStopTextsNeverStop) {
  StopTextFilter filter({""});
  EXPECT_EQ(filter.push("abc"), "abc");
  EXPECT_FALSE(filter.stopped());
}

}  // namespace
}  // namespace sinkrouter
