#include <gtest/gtest.h>

#include <algorithm>

#include "eval/suite/plot_scale.h"
#include "eval/suite/plot_series.h"
#include "sinkrouter/suite.h"
#include "support/tiny_model.h"

namespace sinkrouter {
namespace {

using Words = std::vector<std::string>;

int count_of(const std::string& text, const std::string& what) {
  int count = 0;
  for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) {
    ++count;
  }
  return count;
}

TEST(PlotSeries, JoinsPoliciesThatDifferInOneSetting) {
  const Words policies{"margin:epsilon=0.01",           "streaming",
                       "margin:epsilon=0.05",           "margin:epsilon=0.1:granule=1",
                       "margin:epsilon=0.05:granule=1", "cosine:tau=0.5"};
  const std::vector<PlotSeries> series = series_of(policies);
  ASSERT_EQ(series.size(), 4u);
  EXPECT_EQ(series[0].policies, (Words{"margin:epsilon=0.01", "margin:epsilon=0.05"}));
  EXPECT_EQ(series[0].label, "margin, epsilon 0.01 to 0.05");
  EXPECT_EQ(series[1].label, "streaming");
  EXPECT_EQ(series[2].policies,
            (Words{"margin:epsilon=0.1:granule=1", "margin:epsilon=0.05:granule=1"}));
  EXPECT_EQ(series[2].label, "margin:granule=1, epsilon 0.05 to 0.1");
  EXPECT_EQ(series[3].label, "cosine:tau=0.5");
}

TEST(PlotSeries, ASettingLeftOutIsAValueToo) {
  const std::vector<PlotSeries> series = series_of(Words{"streaming", "streaming:window=512"});
  ASSERT_EQ(series.size(), 1u);
  EXPECT_EQ(series[0].label, "streaming, window default to 512");
  EXPECT_TRUE(series_of(Words{}).empty());
}

TEST(PlotScales, HoldWhatTheyAreMadeFor) {
  const std::vector<double> shares{0.027, 0.5, 1.004};
  const PlotScale reads = share_scale(shares);
  EXPECT_TRUE(reads.logarithmic);
  for (double share : shares) {
    EXPECT_GT(reads.place(share), 0.0);
    EXPECT_LT(reads.place(share), 1.0);
  }
  EXPECT_NEAR(reads.place(0.1) - reads.place(0.05), reads.place(0.8) - reads.place(0.4), 1e-9);
  EXPECT_EQ(reads.marks, (std::vector<double>{0.05, 0.1, 0.2, 0.5, 1}));
  EXPECT_LE(share_scale(std::vector<double>{1e-5, 1.0}).marks.size(), 8u);
  EXPECT_FALSE(share_scale(std::vector<double>{}).marks.empty());

  const PlotScale scale = perplexity_scale(10.0, std::vector<double>{10.1, 10.4, 99.0});
  EXPECT_LT(scale.low, 10.0);
  EXPECT_GT(scale.high, 10.4);
  EXPECT_LT(scale.high, 11.0);  // what is beyond does not stretch it
  EXPECT_GE(scale.marks.size(), 3u);
  EXPECT_LE(scale.marks.size(), 9u);
  EXPECT_GE(scale.marks.front(), scale.low);
  EXPECT_LE(scale.marks.back(), scale.high);
}

SuiteResult small_result() {
  SuiteResult result;
  result.settings.model = "a<b>&\"c\"";
  result.settings.samples = 2;
  result.settings.documents = 2;
  const auto add = [&](SuiteTask task, SuiteMode mode, const char* policy, std::int64_t bytes,
                       double score) {
    SuiteCell cell{.task = task, .context = 4096, .mode = mode, .policy = policy, .documents = 2};
    cell.scores = {score, score};
    cell.reads = {.attention_bytes = bytes, .dense_bytes = 100};
    result.cells.push_back(cell);
  };
  for (const char* policy : {"dense", "margin:epsilon=0.01", "margin:epsilon=0.1", "streaming"}) {
    const bool dense = std::string(policy) == "dense";
    add(SuiteTask::kNeedle, SuiteMode::kDecode, policy, dense ? 100 : 10, 0.5);
  }
  add(SuiteTask::kNeedle, SuiteMode::kPrefill, "dense", 100, 1.0);
  add(SuiteTask::kPerplexity, SuiteMode::kDecode, "dense", 100, 2.0);
  add(SuiteTask::kPerplexity, SuiteMode::kDecode, "streaming", 3, 3.0);
  return result;
}

TEST(SuitePlot, HasAPanelForEachTaskAndADotForEachCell) {
  const SuiteResult result = small_result();
  const std::string svg = to_svg(result, SuiteMode::kDecode);
  EXPECT_TRUE(svg.starts_with("<svg ")) << svg.substr(0, 40);
  EXPECT_TRUE(svg.ends_with("</svg>\n"));
  EXPECT_EQ(count_of(svg, " at 4096</text>"), 2);
  EXPECT_EQ(count_of(svg, "<title>"), 3 + 1);
  EXPECT_NE(svg.find("margin, epsilon 0.01 to 0.1"), std::string::npos);
  EXPECT_NE(svg.find("a&lt;b&gt;&amp;&quot;c&quot;"), std::string::npos);
  // Streaming's perplexity is beyond the scale and written beside its dot.
  EXPECT_NE(svg.find("\u2191 20.09"), std::string::npos);
  EXPECT_EQ(count_of(to_svg(result, SuiteMode::kPrefill), " at 4096</text>"), 1);
}

TEST(SuitePlot, LeavesIncompleteCellsOut) {
  SuiteResult result = small_result();
  for (SuiteCell& cell : result.cells) {
    if (cell.policy != "streaming") continue;
    cell.documents = 1;
    cell.scores.pop_back();
  }
  EXPECT_EQ(count_of(to_svg(result, SuiteMode::kDecode), "<title>"), 2);
}

TEST(SuitePlot, IsWrittenForTheModesThereAre) {
  const testing::TemporaryDirectory folder;
  SuiteResult result = small_result();
  write_suite_plots(result, folder.path());
  EXPECT_TRUE(std::filesystem::exists(folder.path() / "decode.svg"));
  EXPECT_TRUE(std::filesystem::exists(folder.path() / "prefill.svg"));
  const testing::TemporaryDirectory other;
  std::erase_if(result.cells,
                [](const SuiteCell& cell) { return cell.mode == SuiteMode::kPrefill; });
  write_suite_plots(result, other.path());
  EXPECT_TRUE(std::filesystem::exists(other.path() / "decode.svg"));
  EXPECT_FALSE(std::filesystem::exists(other.path() / "prefill.svg"));
}

}  // namespace
}  // namespace sinkrouter
