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

// Random weights attend about evenly, so a short text's middle blocks have a tenth of the mass.
TEST_F(Inspect, ReportsWhatTheEnginePinned) {
  tokens_.resize(210);
  const InspectReport report = inspected(PolicyKind::kDense);
  Sequence sequence = engine_->create_sequence();
  engine_->prefill(sequence, std::span(tokens_).first(200));
  const std::vector<PinnedSink> pinned = engine_->pinned_sinks(sequence);
  ASSERT_FALSE(pinned.empty());
  ASSERT_EQ(report.pinned.size(), pinned.size());
  const nlohmann::json json = nlohmann::json::parse(to_json(report)).at("pinned");
  ASSERT_EQ(json.size(), pinned.size());
  for (std::size_t i = 0; i < pinned.size(); ++i) {
    EXPECT_EQ(json[i].at("layer"), pinned[i].layer);
    EXPECT_EQ(json[i].at("kv_head"), pinned[i].kv_head);
    EXPECT_EQ(json[i].at("block"), pinned[i].block);
    EXPECT_EQ(json[i].at("first_position"), pinned[i].first_position);
    EXPECT_EQ(json[i].at("mass"), pinned[i].mass);
  }
  const std::string note = "from row " + std::to_string(pinned[0].first_position);
  EXPECT_NE(to_svg(report).find(note), std::string::npos);
}

TEST_F(Inspect, TheEnginesAuditOfEverythingSeesWhatTheObserverSees) {
  InspectOptions options{.policy = {.kind = PolicyKind::kMargin, .epsilon = 0.05f}, .tokens = 10};
  options.policy.audit_share = 1;
  const InspectReport report = inspect(*engine_, tokens_, options);
  const AuditedHead& seen = report.engine_audit.total;
  EXPECT_EQ(seen.decisions, report.audit.decisions);
  EXPECT_NEAR(seen.unread_mass, report.audit.unread_mass_mean, 1e-5);
  EXPECT_NEAR(seen.largest_unread_mass, report.audit.unread_mass_max, 1e-5);
  const nlohmann::json json = nlohmann::json::parse(to_json(report)).at("engine_audit");
  EXPECT_DOUBLE_EQ(json.at("target"), 0.1);
  EXPECT_EQ(json.at("decisions"), seen.decisions);
  EXPECT_EQ(json.at("violation_rate"), seen.violation_rate());
  EXPECT_EQ(json.at("unread_mass_mean"), seen.unread_mass);
  EXPECT_EQ(json.at("unread_mass_max"), seen.largest_unread_mass);
  EXPECT_EQ(json.at("output_error_mean"), seen.output_error);
  ASSERT_EQ(json.at("heads").size(), report.groups.size());
  for (std::size_t i = 0; i < report.groups.size(); ++i) {
    EXPECT_EQ(json.at("heads")[i].at("kv_head"), report.groups[i].kv_head);
    EXPECT_EQ(json.at("heads")[i].at("tightening"), report.engine_audit.heads[i].tightening);
  }
  EXPECT_NE(to_svg(report).find("the engine's audit"), std::string::npos);
}

TEST_F(Inspect, WithoutAnAuditNothingIsSaidOfIt) {
  const InspectReport report = inspected(PolicyKind::kStreaming);
  EXPECT_EQ(report.engine_audit.total.decisions, 0);
  EXPECT_EQ(to_svg(report).find("audit"), std::string::npos);
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
  EXPECT_EQ(cells, report.heads.size() + 3 * report.groups.size());
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
