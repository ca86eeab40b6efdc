#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <random>

#include "base/rng.h"
#include "eval/whole_file.h"
#include "sinkrouter/error.h"
#include "sinkrouter/inspect.h"
#include "support/tiny_model.h"

namespace sinkrouter {
namespace {

class Inspect : public ::testing::Test {
 protected:
  Inspect() : seed_(std::random_device{}()), trace_(__FILE__, __LINE__, seed_) {
    testing::write_tiny_model(directory_.path(), {}, seed_);
    EngineOptions options;
    options.model = directory_.path();
    options.threads = 1;
    options.kv_dtype = DType::kF32;
    engine_ = std::make_unique<Engine>(options);
    Rng rng(seed_);
    for (int i = 0; i < 400; ++i) tokens_.push_back(static_cast<int>(rng.below(4000)));
  }

  InspectReport inspected(PolicyKind kind) {
    InspectOptions options{.policy = {.kind = kind}, .tokens = 10};
    return inspect(*engine_, tokens_, options);
  }

  testing::TemporaryDirectory directory_;
  std::uint64_t seed_;
  ::testing::ScopedTrace trace_;
  std::unique_ptr<Engine> engine_;
  std::vector<int> tokens_;
};

TEST_F(Inspect, DenseLeavesNothingUnread) {
  const InspectReport report = inspected(PolicyKind::kDense);
  EXPECT_EQ(report.audit.decisions, 10 * 2 * 4);
  EXPECT_LT(report.audit.unread_mass_max, 1e-6);
  EXPECT_EQ(report.audit.over_epsilon, 0);
  for (const GroupReport& group : report.groups) EXPECT_DOUBLE_EQ(group.read_share, 1.0);
}

TEST_F(Inspect, StreamingLeavesWhatItsKeptSetDoesNotHold) {
  const InspectReport report = inspected(PolicyKind::kStreaming);
  double mean = 0;
  for (const HeadReport& head : report.heads) {
    // Random weights attend about evenly: the kept set holds some 100 of 400 rows.
    EXPECT_GT(head.unread_mass, 0.1);
    EXPECT_LT(head.unread_mass, 1.0);
    EXPECT_LE(head.sink_mass, head.sink_block_mass);
    mean += head.unread_mass / static_cast<double>(report.heads.size());
  }
  EXPECT_NEAR(report.audit.unread_mass_mean, mean, 1e-6);
  for (const GroupReport& group : report.groups) {
    EXPECT_DOUBLE_EQ(group.routed_share, 1.0);
    EXPECT_LT(group.read_share, 0.5);
    EXPECT_GT(group.read_share, 64.0 / 400);
  }
}

TEST_F(Inspect, TheObserverGoesWithTheInspection) {
  struct Stop {};
  InspectOptions options{.policy = {}, .tokens = 10};
  EXPECT_THROW(inspect(*engine_, tokens_, options,
                       [](std::string_view what, double) {
                         if (what == "observing") throw Stop{};
                       }),
               Stop);
  // A left-behind observer would write into totals that are gone.
  inspected(PolicyKind::kMargin);
  Sequence sequence = engine_->create_sequence();
  engine_->prefill(sequence, tokens_);
  Sequence* const one[] = {&sequence};
  engine_->decode(one, std::span(tokens_).first(1), {});
}

TEST_F(Inspect, ThePictureNamesTheModelAndEscapesIt) {
  InspectReport report = inspected(PolicyKind::kMargin);
  report.model.name = "a<b>&\"c\"";
  const std::string svg = to_svg(report);
  EXPECT_NE(svg.find("a&lt;b&gt;&amp;&quot;c&quot;"), std::string::npos);
  std::size_t cells = 0;
  for (std::size_t at = svg.find("<title>"); at != std::string::npos;
       at = svg.find("<title>", at + 1)) {
    ++cells;
  }
  EXPECT_EQ(cells, report.heads.size() + 2 * report.groups.size());
}

TEST(WholeFile, ReplacesAndLeavesNoDrafts) {
  const testing::TemporaryDirectory folder;
  const std::filesystem::path path = folder.path() / "file";
  write_whole_file(path, "one");
  write_whole_file(path, "two");
  std::ifstream stream(path);
  EXPECT_EQ(std::string((std::istreambuf_iterator<char>(stream)), std::istreambuf_iterator<char>()),
            "two");
  EXPECT_THROW(write_whole_file(folder.path() / "none" / "file", "x"), Error);
  std::filesystem::create_directory(folder.path() / "taken");
  EXPECT_THROW(write_whole_file(folder.path() / "taken", "x"), Error);
  int entries = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
    entries += entry.exists();
  }
  EXPECT_EQ(entries, 2);
}

}  // namespace
}  // namespace sinkrouter
