#include "sinkrouter/policy.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "sinkrouter/error.h"

namespace sinkrouter::test {
namespace {

constexpr PolicyKind kKinds[] = {
    PolicyKind::kDense,     PolicyKind::kMargin,    PolicyKind::kRoute, PolicyKind::kCosine,
    PolicyKind::kStreaming, PolicyKind::kCertified, PolicyKind::kQuest, PolicyKind::kOracle};

std::string refusal(const PolicyOptions& options, int page_size = 64) {
  try {
    validate(options, page_size);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), Error::Kind::kInvalidArgument);
    return error.what();
  }
  return "";
}

TEST(Policy, NamesRoundTrip) {
  for (PolicyKind kind : kKinds) EXPECT_EQ(parse_policy(name(kind)), kind);
  EXPECT_EQ(name(PolicyKind::kMargin), "margin");
}

TEST(Policy, UnknownNamesListTheKnownOnes) {
  for (const char* text : {"", "Margin", "quests", "margin "}) {
    try {
      parse_policy(text);
      FAIL() << text;
    } catch (const Error& error) {
      const std::string message = error.what();
      for (PolicyKind kind : kKinds) {
        EXPECT_NE(message.find(name(kind)), std::string::npos) << message;
      }
    }
  }
}

TEST(Policy, DefaultsAreValidForEveryPageSize) {
  for (PolicyKind kind : kKinds) {
    for (int page_size : {32, 64, 128, 256}) {
      EXPECT_EQ(refusal({.kind = kind}, page_size), "") << name(kind) << page_size;
    }
  }
}

TEST(Policy, RangesAreChecked) {
  for (float epsilon : {-0.1f, 1.0f, NAN, INFINITY, -INFINITY}) {
    EXPECT_NE(refusal({.epsilon = epsilon}).find("epsilon"), std::string::npos) << epsilon;
  }
  for (float epsilon : {0.0f, 1e-30f, 0.999f}) EXPECT_EQ(refusal({.epsilon = epsilon}), "");
  for (int window : {0, -1, (1 << 20) + 1}) {
    EXPECT_NE(refusal({.window = window}).find("window"), std::string::npos) << window;
  }
  for (int window : {1, 1 << 20}) EXPECT_EQ(refusal({.window = window}), "");
  for (float share : {0.0f, -0.5f, 1.5f, NAN}) {
    EXPECT_NE(refusal({.block_share = share}).find("block_share"), std::string::npos) << share;
  }
  EXPECT_EQ(refusal({.block_share = 1.0f}), "");
  for (float tau : {-1.1f, 1.1f, NAN}) {
    EXPECT_NE(refusal({.tau = tau}).find("tau"), std::string::npos) << tau;
  }
  for (float budget : {0.0f, -0.1f, 1.1f, NAN}) {
    EXPECT_NE(refusal({.budget = budget}).find("budget"), std::string::npos) << budget;
  }
  EXPECT_EQ(refusal({.budget = 1.0f}), "");
  for (float tau : {-1.0f, 1.0f}) EXPECT_EQ(refusal({.tau = tau}), "");
}

TEST(Policy, GranulesDivideThePage) {
  for (PolicyKind kind : kKinds) {
    for (int granule : {0, -32, 3, 48, 128}) {
      EXPECT_NE(refusal({.kind = kind, .granule = granule}).find("granule"), std::string::npos)
          << name(kind) << granule;
    }
    EXPECT_EQ(refusal({.kind = kind, .granule = 64}), "") << name(kind);
    const bool estimates_blocks =
        kind == PolicyKind::kMargin || kind == PolicyKind::kRoute || kind == PolicyKind::kQuest;
    EXPECT_EQ(refusal({.kind = kind, .granule = 1}), "") << name(kind);
    EXPECT_EQ(refusal({.kind = kind, .granule = 16}).empty(), !estimates_blocks) << name(kind);
  }
}

TEST(Policy, SketchBitsAreThoseOfTheMostDemanding) {
  std::vector<PolicyOptions> policies;
  EXPECT_EQ(needed_sketch_bits(policies), 2);
  for (PolicyKind kind : kKinds) {
    if (kind != PolicyKind::kCertified) policies.push_back({.kind = kind});
  }
  EXPECT_EQ(needed_sketch_bits(policies), 2);
  policies.insert(policies.begin() + 1, {.kind = PolicyKind::kCertified});
  EXPECT_EQ(needed_sketch_bits(policies), 4);
}

TEST(Policy, OnlyQuestNeedsKeyBoxes) {
  std::vector<PolicyOptions> policies;
  for (PolicyKind kind : kKinds) {
    if (kind != PolicyKind::kQuest) policies.push_back({.kind = kind});
  }
  EXPECT_FALSE(needs_key_boxes(policies));
  policies.push_back({.kind = PolicyKind::kQuest});
  EXPECT_TRUE(needs_key_boxes(policies));
}

}  // namespace
}  // namespace sinkrouter::test
