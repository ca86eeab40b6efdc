#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>
#include <span>
#include <vector>

#include "base/rng.h"
#include "eval/fixed_point/observer.h"
#include "sinkrouter/error.h"
#include "sinkrouter/inspect.h"
#include "support/tiny_model.h"

namespace sinkrouter {
namespace {

using Json = nlohmann::json;

constexpr int kHeads = 4;
constexpr int kKvHeads = 2;
constexpr int kDim = 64;
constexpr int kHidden = 64;

std::vector<float> tensor(const std::filesystem::path& file, const std::string& name) {
  std::ifstream stream(file, std::ios::binary);
  std::uint64_t length = 0;
  stream.read(reinterpret_cast<char*>(&length), sizeof(length));
  std::string header(length, ' ');
  stream.read(header.data(), static_cast<std::streamsize>(length));
  const Json offsets = Json::parse(header).at(name).at("data_offsets");
  const auto begin = offsets[0].get<std::size_t>();
  std::vector<float> values((offsets[1].get<std::size_t>() - begin) / sizeof(float));
  stream.seekg(static_cast<std::streamoff>(sizeof(length) + length + begin));
  stream.read(reinterpret_cast<char*>(values.data()),
              static_cast<std::streamsize>(values.size() * sizeof(float)));
  return values;
}

class FixedPoint : public ::testing::Test {
 protected:
  FixedPoint() : seed_(std::random_device{}()), rng_(seed_), trace_(__FILE__, __LINE__, seed_) {
    testing::write_tiny_model(directory_.path(), {}, seed_);
    EngineOptions options;
    options.model = directory_.path();
    options.threads = 1;
    options.kv_dtype = DType::kF32;
    engine_ = std::make_unique<Engine>(options);
    for (int i = 0; i < 300; ++i) tokens_.push_back(static_cast<int>(rng_.below(4000)));
  }

  InspectReport inspected(PolicyKind kind) {
    InspectOptions options{.policy = {.kind = kind}, .tokens = 10};
    options.fixed_point = FixedPointOptions{};
    return inspect(*engine_, tokens_, options);
  }

  testing::TemporaryDirectory directory_;
  std::uint64_t seed_;
  Rng rng_;
  ::testing::ScopedTrace trace_;
  std::unique_ptr<Engine> engine_;
  std::vector<int> tokens_;
};

TEST_F(FixedPoint, OutputProjectionsAreTheCheckpoints) {
  const std::vector<float> weights =
      tensor(directory_.path() / "model.safetensors", "model.layers.1.self_attn.o_proj.weight");
  for (int head = 0; head < kHeads; ++head) {
    const std::vector<float> columns = engine_->output_projection(1, head);
    ASSERT_EQ(columns.size(), std::size_t{kHidden} * kDim);
    for (int row = 0; row < kHidden; ++row) {
      for (int i = 0; i < kDim; ++i) {
        ASSERT_EQ(columns[row * kDim + i], weights[(row * kHeads + head) * kDim + i]);
      }
    }
  }
  EXPECT_THROW(engine_->output_projection(2, 0), Error);
  EXPECT_THROW(engine_->output_projection(0, kHeads), Error);
  EXPECT_THROW(engine_->output_projection(-1, 0), Error);
}

TEST_F(FixedPoint, DenseLeavesNothingOfItsListUnread) {
  const FixedPointReport report = *inspected(PolicyKind::kDense).fixed_point;
  ASSERT_EQ(report.errors.size(), 3u);
  EXPECT_EQ(report.errors[0].decisions, 10 * 2 * kHeads);
  EXPECT_EQ(report.errors[1].decisions, 10 * 2 * kHeads);
  EXPECT_EQ(report.errors[2].decisions, 0);
  EXPECT_LT(report.engine_difference, 1e-4);
}

TEST_F(FixedPoint, EveryErrorIsWithinItsBound) {
  const InspectReport inspection = inspected(PolicyKind::kStreaming);
  const FixedPointReport& report = *inspection.fixed_point;
  EXPECT_LT(report.engine_difference, 1e-4);
  for (const ErrorControl& control : report.errors) {
    EXPECT_EQ(control.decisions, 10 * 2 * kHeads);
    for (const BoundCheck& check : {control.output, control.stream}) {
      EXPECT_EQ(check.decisions, control.decisions);
      EXPECT_EQ(check.within_bound, 1);
      EXPECT_LE(check.largest_ratio, 1 + 1e-9);
      EXPECT_GT(check.largest_ratio, 0);
      EXPECT_LE(check.error.median, check.bound.p95);
      std::int64_t counted = 0;
      for (std::int64_t count : check.histogram.counts) counted += count;
      EXPECT_EQ(counted, check.decisions);
    }
  }
  // The unread masses of the list are those of the inspection.
  EXPECT_NEAR(report.errors[2].unread_mass.p95, inspection.audit.unread_mass_p95, 1e-4);
  for (std::size_t i = 0; i < report.heads.size(); ++i) {
    EXPECT_EQ(report.heads[i].dormant_share, inspection.heads[i].sunk_share);
    EXPECT_GT(report.heads[i].awake_of_residual.value_or(0), 0);
    EXPECT_GT(report.heads[i].sink_of_mean, 0);
  }
  EXPECT_EQ(report.residual_norms.size(), 2u);
}

// A cache that a test makes up: a sink of value 0 that every query looks at.
class MadeRows : public ObservedRows {
 public:
  MadeRows(std::vector<float> keys, std::vector<float> values)
      : keys_(std::move(keys)), values_(std::move(values)) {}
  void copy_keys(int, std::span<float> rows) const override {
    std::ranges::copy(keys_, rows.begin());
  }
  void copy_values(int, std::span<float> rows) const override {
    std::ranges::copy(values_, rows.begin());
  }

 private:
  std::vector<float> keys_;
  std::vector<float> values_;
};

TEST_F(FixedPoint, KnownAnswersForASinkThatIsAFixedPoint) {
  constexpr int kRows = 40;
  constexpr int kWindow = 4;
  constexpr double kSinkLogit = 8;
  const float scale = 1 / std::sqrt(static_cast<float>(kDim));
  // Keys and queries of one channel: logits are 8 for the sink and 0 for all others. Values are
  // the unit vector of that channel, but for the sink's.
  std::vector<float> keys(kRows * kDim);
  keys[0] = static_cast<float>(kSinkLogit / scale);
  std::vector<float> values(kRows * kDim);
  for (int row = 1; row < kRows; ++row) values[row * kDim] = 1;
  const MadeRows rows(keys, values);
  std::vector<float> queries(kHeads * kDim);
  std::vector<float> logits(kHeads * kRows);
  std::vector<float> output(kHeads * kDim);
  const double sink_mass = std::exp(kSinkLogit) / (std::exp(kSinkLogit) + kRows - 1);
  for (int head = 0; head < kHeads; ++head) {
    queries[head * kDim] = 1;
    logits[head * kRows] = kSinkLogit;
  }
  const std::vector<float> residual(kHidden, 0.5f);
  const std::vector<std::int32_t> counts(kKvHeads, 1);
  const std::vector<std::int32_t> lists(kKvHeads, 0);
  AttentionObservation seen;
  seen.length = kRows;
  seen.logits = logits;
  seen.logit_stride = kRows;
  seen.list_counts = counts;
  seen.lists = lists;
  seen.list_stride = 1;
  seen.granule = 1;
  seen.queries = queries;
  seen.scale = scale;
  seen.output = output;
  seen.residual = residual;
  seen.rows = &rows;

  FixedPointObserver observer(*engine_, {.noise = {0.25}}, kWindow, kRows, 1);
  observer.observe(seen);
  seen.layer = 1;
  observer.observe(seen);
  const FixedPointReport report = observer.report();

  EXPECT_EQ(report.dormant_share, 1);
  EXPECT_NEAR(report.residual_norms[0], 0.5 * std::sqrt(kHidden), 1e-6);
  for (const HeadEffect& head : report.heads) {
    EXPECT_EQ(head.sink_value_of_mean, 0);
    EXPECT_EQ(head.sink_of_mean, 0);
    EXPECT_EQ(head.sink_of_residual, 0);
    EXPECT_FALSE(head.awake_of_residual.has_value());
    EXPECT_NEAR(head.sink_mass, sink_mass, 1e-12);
    double column = 0;
    const std::vector<float> weights = engine_->output_projection(head.layer, head.head);
    for (int row = 0; row < kHidden; ++row) column += std::pow(weights[row * kDim], 2);
    EXPECT_NEAR(head.dormant_of_residual.value_or(0),
                (1 - sink_mass) * std::sqrt(column) / report.residual_norms[0], 1e-6);
  }

  // Of values that are all alike the unread ones add p_U times themselves; the sink's adds nothing.
  const ErrorControl& sink = report.errors[0];
  EXPECT_EQ(sink.decisions, 2 * kHeads);
  EXPECT_NEAR(sink.unread_mass.median, 1 - sink_mass, 1e-9);
  EXPECT_NEAR(sink.output.error.median, 1 - sink_mass, 1e-9);
  EXPECT_NEAR(sink.output.ratio.median, 1, 1e-9);
  EXPECT_EQ(sink.output.within_bound, 1);
  // The list is the sink alone, too; the kept set holds 31 of the others in its block and 4 later.
  EXPECT_NEAR(report.errors[2].output.error.median, sink.output.error.median, 1e-12);
  EXPECT_NEAR(report.errors[1].unread_mass.median, (kRows - 36) * (1 - sink_mass) / (kRows - 1),
              1e-9);

  ASSERT_EQ(report.noise.size(), 3u);
  const auto moved = [&](double logit) {
    return std::abs(std::exp(logit) / (std::exp(logit) + kRows - 1) - sink_mass);
  };
  for (const NoiseEffect& noise : report.noise) EXPECT_EQ(noise.decisions, 2 * kHeads);
  EXPECT_NEAR(report.noise[1].sink_mass.median, moved(kSinkLogit * 1.25), 1e-9);
  EXPECT_NEAR(report.noise[2].sink_mass.median, moved(kSinkLogit * 0.75), 1e-9);
  EXPECT_NEAR(report.noise[2].output.median, moved(kSinkLogit * 0.75), 1e-9);
  EXPECT_LT(report.noise[0].sink_mass.p95, report.noise[2].sink_mass.p95 + 1e-9);
  EXPECT_EQ(report.noise[1].still_dormant, 1);
}

TEST_F(FixedPoint, OnlySoManyTokensArePerturbed) {
  const InspectReport report = inspected(PolicyKind::kMargin);
  for (const NoiseEffect& noise : report.fixed_point->noise) {
    EXPECT_LE(noise.decisions, 10 * 2 * kHeads);
  }
  EXPECT_EQ(report.fixed_point->noise.size(), 3u * 4u);
}

TEST_F(FixedPoint, TheReportHasFieldsAndFiles) {
  InspectReport report = inspected(PolicyKind::kMargin);
  const Json json = Json::parse(to_json(report)).at("fixed_point");
  EXPECT_EQ(json.at("tokens"), 10);
  EXPECT_EQ(json.at("reachable").size(), 2u * kHeads);
  EXPECT_EQ(json.at("stable").size(), 12u);
  EXPECT_EQ(json.at("stable")[0].at("direction"), "random");
  EXPECT_EQ(json.at("stable")[11].at("size"), 0.5);
  EXPECT_EQ(json.at("error_controllable").size(), 3u);
  EXPECT_EQ(json.at("error_controllable")[0].at("rows"), "sink");
  for (const char* place : {"output", "stream"}) {
    EXPECT_EQ(json.at("error_controllable")[0].at(place).at("within_bound"), 1);
  }

  const testing::TemporaryDirectory folder;
  std::ofstream(folder.path() / "mine.txt") << "mine";
  const std::vector<std::string> written = write_report(report, folder.path());
  EXPECT_EQ(written.size(), 5u);
  std::size_t entries = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
    entries += entry.exists();
  }
  EXPECT_EQ(entries, written.size() + 1);
  for (const std::string& name : written) {
    std::ifstream stream(folder.path() / name);
    const std::string content((std::istreambuf_iterator<char>(stream)),
                              std::istreambuf_iterator<char>());
    EXPECT_TRUE(name == "report.json" || content.ends_with("</svg>\n")) << name;
  }

  report.fixed_point.reset();
  EXPECT_FALSE(Json::parse(to_json(report)).contains("fixed_point"));
  const testing::TemporaryDirectory plain;
  EXPECT_EQ(write_report(report, plain.path()).size(), 2u);
}

TEST_F(FixedPoint, BadOptionsAreErrors) {
  InspectOptions options{.policy = {}, .tokens = 10};
  for (const double size : {0.0, -0.1, std::nan(""), HUGE_VAL}) {
    options.fixed_point = FixedPointOptions{.noise = {size}};
    EXPECT_THROW(inspect(*engine_, tokens_, options), Error);
  }
  options.fixed_point =
      FixedPointOptions{.noise = std::vector<double>(FixedPointOptions::kMostSizes + 1, 0.1)};
  EXPECT_THROW(inspect(*engine_, tokens_, options), Error);
  options.fixed_point = FixedPointOptions{.perturbed_tokens = -1};
  EXPECT_THROW(inspect(*engine_, tokens_, options), Error);
}

}  // namespace
}  // namespace sinkrouter
