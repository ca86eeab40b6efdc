#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <random>

#include "apps/cli_run.h"
#include "support/tiny_model.h"

namespace sinkrouter::testing {
namespace {

using Json = nlohmann::json;
using Words = std::vector<std::string>;

Words operator+(Words words, const Words& more) {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

std::string long_text() {
  std::string text;
  for (int i = 0; i < 60; ++i) text += "Line " + std::to_string(i) + " of a text to go on from.\n";
  return text;
}

void expect_fields(const Json& json, std::initializer_list<const char*> names) {
  for (const char* name : names) EXPECT_TRUE(json.contains(name)) << name << " in " << json.dump(1);
}

void expect_share(const Json& json, const char* name) {
  ASSERT_TRUE(json.contains(name)) << name;
  EXPECT_GE(json.at(name).get<double>(), 0.0) << name;
  EXPECT_LE(json.at(name).get<double>(), 1.0 + 1e-9) << name;
}

class CliCommands : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    directory_ = new TemporaryDirectory;
    write_tiny_model(directory_->path(), TinyModelShape{}, std::random_device{}());
  }
  static void TearDownTestSuite() {
    delete directory_;
    directory_ = nullptr;
  }

  static Words on_model(const Words& words) {
    return words + Words{"--model", directory_->path(), "--threads", "2"};
  }
  static Json json_of(const Words& words, const std::string& input = {}) {
    const CliOutcome outcome = run_cli(words + Words{"--json"}, input);
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    EXPECT_EQ(outcome.err, "");
    return Json::parse(outcome.out);  // fails on anything but one value
  }

  static TemporaryDirectory* directory_;
};

TemporaryDirectory* CliCommands::directory_ = nullptr;

TEST_F(CliCommands, GenerateContinuesAPrompt) {
  const Words words =
      on_model({"generate", "--prompt-file", "-", "--max-tokens", "6", "--ignore-eos"});
  const Json json = json_of(words, long_text());
  expect_fields(json, {"text", "prompt_tokens", "generated_tokens", "prefill_seconds",
                       "decode_tokens_per_second", "kv_read_fraction", "routed_fraction"});
  EXPECT_EQ(json.at("generated_tokens"), 6);
  EXPECT_EQ(json.at("policy"), "margin");
  EXPECT_GT(json.at("prompt_tokens"), 200);
  expect_share(json, "routed_fraction");
  const CliOutcome streamed = run_cli(words, long_text());
  EXPECT_EQ(streamed.status, 0);
  EXPECT_EQ(streamed.out, json.at("text").get<std::string>() + "\n");
}

// With 4-bit sketches unless others are asked for.
TEST_F(CliCommands, CertifiedGetsTheSketchesItNeeds) {
  Words words = on_model({"generate", "--prompt-file", "-", "--max-tokens", "2", "--policy",
                          "certified:epsilon=0.05"});
  const Json json = json_of(words, long_text());
  EXPECT_EQ(json.at("policy"), "certified");
  EXPECT_GT(json.at("kv_read_fraction"), 0.0);
  words.insert(words.end(), {"--sketch-bits", "2"});
  const CliOutcome refused = run_cli(words, long_text());
  EXPECT_EQ(refused.status, 2);
  EXPECT_NE(refused.err.find("--sketch-bits 4"), std::string::npos) << refused.err;
}

TEST_F(CliCommands, TheSameSeedGivesTheSameText) {
  const auto text = [&](const char* seed) {
    return json_of(on_model({"generate", "--prompt", "Once", "--max-tokens", "12", "--temperature",
                             "30", "--seed", seed, "--ignore-eos"}))
        .at("text");
  };
  EXPECT_EQ(text("4"), text("4"));
  EXPECT_NE(text("4"), text("5"));
}

TEST_F(CliCommands, AQuestionCountsAsPromptAndIsDecoded) {
  const Words words = on_model(
      {"generate", "--prompt-file", "-", "--max-tokens", "4", "--ignore-eos", "--policy", "dense"});
  const Json whole = json_of(words, long_text() + "What is it?");
  const Json asked = json_of(words + Words{"--question", "What is it?"}, long_text());
  EXPECT_EQ(asked.at("prompt_tokens"), whole.at("prompt_tokens"));
  EXPECT_EQ(asked.at("text"), whole.at("text"));
  EXPECT_GT(asked.at("question_tokens"), 0);
}

TEST_F(CliCommands, CompareWithDenseItselfIsEqual) {
  const Json json =
      json_of(on_model({"compare", "--prompt-file", "-", "--max-tokens", "8", "--policy", "dense"}),
              long_text());
  expect_fields(json, {"tokens_equal", "speedup", "dense", "routed"});
  EXPECT_EQ(json.at("tokens_equal"), true);
  for (const char* side : {"dense", "routed"}) {
    expect_fields(json.at(side),
                  {"text", "prompt_tokens", "generated_tokens", "prefill_seconds",
                   "decode_tokens_per_second", "kv_read_fraction", "routed_fraction"});
    EXPECT_DOUBLE_EQ(json.at(side).at("kv_read_fraction"), 1.0);
  }
}

TEST_F(CliCommands, CompareMakesANeedleDocumentOfTheLengthAskedFor) {
  const CliOutcome outcome = run_cli(
      on_model({"compare", "--needle", "700", "--max-tokens", "4", "--policy", "streaming"}));
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  for (const char* part :
       {"--- dense ---", "--- streaming ---", "speedup", "hidden in the document"}) {
    EXPECT_NE(outcome.out.find(part), std::string::npos) << part << " in " << outcome.out;
  }
  const Json json = json_of(
      on_model({"compare", "--needle", "700", "--max-tokens", "4", "--policy", "streaming"}));
  EXPECT_EQ(json.at("prompt_tokens").get<int>() - json.at("dense").at("question_tokens").get<int>(),
            700);
  EXPECT_LT(json.at("routed").at("kv_read_fraction"), 0.5);
}

TEST_F(CliCommands, EvalNeedleScoresEveryPolicy) {
  const Words words =
      on_model({"eval", "needle", "--context", "640", "--samples", "6", "--documents", "2",
                "--policy", "margin:epsilon=0.02,streaming", "--policy", "dense"});
  const Json json = json_of(words);
  expect_fields(json, {"policy", "context", "samples", "accuracy", "dense_accuracy",
                       "kv_read_fraction", "routed_fraction", "by_depth", "by_wording"});
  ASSERT_EQ(json.at("results").size(), 3u);
  EXPECT_EQ(json.at("results")[0].at("policy"), "margin");
  EXPECT_NEAR(json.at("results")[0].at("epsilon"), 0.02, 1e-6);
  EXPECT_EQ(json.at("results")[1].at("policy"), "streaming");
  EXPECT_DOUBLE_EQ(json.at("results")[1].at("routed_fraction"), 1.0);
  EXPECT_DOUBLE_EQ(json.at("results")[2].at("same_as_dense"), 1.0);
  EXPECT_DOUBLE_EQ(json.at("results")[2].at("kv_read_fraction"), 1.0);
  int asked = 0;
  for (const Json& entry : json.at("by_depth")) asked += entry.at("asked").get<int>();
  EXPECT_EQ(asked, 6);
  EXPECT_EQ(run_cli(words + Words{"--question", "prefill"}).status, 0);
}

TEST_F(CliCommands, EvalNeedleDecodesTheEndOfDocumentsUnderThePolicy) {
  const auto needle = [](const char* context, const Words& more) {
    return json_of(
        on_model({"eval", "needle", "--context", context, "--samples", "2", "--documents", "1",
                  "--policy", "margin:epsilon=0,streaming", "--question", "prefill"}) +
        more);
  };
  const auto read = [](const Json& json) {
    return json.at("results").at(1).at("kv_read_fraction").get<double>();
  };
  const Json json = needle("1000", {"--decoded", "700"});
  EXPECT_EQ(json.at("decoded"), 700);
  EXPECT_DOUBLE_EQ(json.at("results").at(0).at("same_as_dense"), 1.0);
  // The shorter a sequence, the more of it is kept: what is read lies between what a document
  // without its end and a whole one have.
  EXPECT_GT(read(json), 1.2 * read(needle("1000", {})));
  EXPECT_LT(read(json), 0.8 * read(needle("300", {})));
}

TEST_F(CliCommands, EvalDriftJudgesEveryStep) {
  const TemporaryDirectory folder;
  const std::string code = folder.path() / "code.txt";
  std::ofstream(code) << long_text();
  const std::string out = folder.path() / "drift";
  const Words words = on_model(
      {"eval", "drift", "--context", "200", "--tokens", "90", "--code", code, "--out", out});
  const Json everything = json_of(words + Words{"--policy", "dense"});
  ASSERT_EQ(everything.at("steps").size(), 5u * 90);
  EXPECT_EQ(everything.at("violation_rate"), 0.0);
  EXPECT_EQ(everything.at("segments").at(4).at("recovered_after"), 0);
  const Json little = json_of(words + Words{"--policy", "streaming"});
  EXPECT_GT(little.at("violation_rate"), 0.1);  // random weights do not look at the sink
  for (const Json& segment : little.at("segments")) {
    double total = 0;
    for (int i = 0; i < 90; ++i) {
      const std::size_t step = segment.at("first").get<std::size_t>() + i;
      total += little.at("steps").at(step).at("violation_rate").get<double>();
    }
    EXPECT_NEAR(segment.at("violation_rate"), total / 90, 1e-9);
    EXPECT_EQ(segment.at("count"), 90);
  }
  EXPECT_LT(little.at("steps").back().at("rows_read"), 0.5);
  std::ifstream picture(out + "/drift.svg");
  const std::string svg{std::istreambuf_iterator<char>(picture), {}};
  EXPECT_NE(svg.find("one token"), std::string::npos);
  EXPECT_TRUE(std::filesystem::exists(out + "/drift.json"));
}

TEST_F(CliCommands, EvalPerplexityComparesWithDense) {
  const Json json = json_of(on_model({"eval", "perplexity", "--context", "300", "--tokens", "40",
                                      "--samples", "2", "--policy", "margin:epsilon=0,streaming"}));
  expect_fields(json, {"policy", "context", "samples", "perplexity", "dense_perplexity",
                       "kv_read_fraction", "routed_fraction"});
  const double dense = json.at("dense_perplexity");
  EXPECT_GT(dense, 1.0);
  // epsilon 0 leaves nothing out.
  EXPECT_NEAR(json.at("perplexity").get<double>() / dense, 1.0, 1e-4);
  EXPECT_NE(json.at("results")[1].at("perplexity").get<double>(), dense);
}

TEST_F(CliCommands, EvalSuiteFillsAFolderAndGoesOnWithIt) {
  const TemporaryDirectory folder;
  const std::string out = folder.path() / "new" / "results";
  const Words words = on_model({"eval", "suite", "--out", out, "--contexts", "1024,1200", "--tasks",
                                "multikey,perplexity", "--samples", "4", "--tokens", "8",
                                "--policy", "streaming,margin:epsilon=0.02"});
  const Json json = json_of(words);
  // Two contexts, three policies; two modes of multikey and one of perplexity.
  ASSERT_EQ(json.at("cells").size(), 2u * 3 * (2 + 1));
  for (const Json& cell : json.at("cells")) {
    expect_fields(cell, {"task", "context", "mode", "policy", "samples", "score", "dense_score",
                         "router_bytes", "attention_bytes", "seconds", "model", "seed", "version"});
    expect_share(cell, "routed_fraction");
    EXPECT_GT(cell.at("kv_read_fraction"), 0.0);
  }
  std::ifstream file(out + "/suite.json");
  EXPECT_EQ(Json::parse(file), json);
  EXPECT_EQ(json_of(words), json);  // nothing left to do
  for (const char* picture : {"/decode.svg", "/prefill.svg"}) {
    EXPECT_TRUE(std::filesystem::exists(out + picture)) << picture;
  }
  const CliOutcome table = run_cli(words);
  EXPECT_EQ(table.status, 0) << table.err;
  for (const char* part : {"multikey at 1200", "margin:epsilon=0.02", "streaming", "perplexity"}) {
    EXPECT_NE(table.out.find(part), std::string::npos) << part << " in " << table.out;
  }
  const CliOutcome other = run_cli(words + Words{"--seed", "2"});
  EXPECT_EQ(other.status, 1);
  EXPECT_NE(other.err.find("suite.json: settings.seed is 1"), std::string::npos) << other.err;
}

TEST_F(CliCommands, BenchesReportTheirFields) {
  const auto check = [](const Json& json) {
    expect_fields(json, {"device", "shape", "context", "policy"});
    for (const char* name : {"median_us", "achieved_gb_per_s", "read_ceiling_gb_per_s",
                             "kv_read_fraction", "dense_median_us", "speedup", "ideal_speedup"}) {
      ASSERT_TRUE(json.contains(name)) << name;
      EXPECT_GT(json.at(name).get<double>(), 0.0) << name;
    }
  };
  const Json attention = json_of({"bench", "attention", "--context", "2048", "--threads", "2",
                                  "--seconds", "0.05", "--routed", "0.5", "--kv-dtype", "f32"});
  check(attention);
  // One of the two groups reads 32 + 64 rows.
  EXPECT_NEAR(attention.at("kv_read_fraction"), 0.5 + 0.5 * 96 / 2048, 1e-9);
  check(json_of(on_model({"bench", "decode", "--context", "1000", "--tokens", "16", "--rounds", "2",
                          "--policy", "streaming"})));
}

TEST_F(CliCommands, InspectWritesAReportAndAPicture) {
  const TemporaryDirectory folder;
  const std::filesystem::path out = folder.path() / "new" / "report";
  const Words words =
      on_model({"inspect", "--context", "400", "--tokens", "20", "--out", out.string()});
  const Json json = json_of(words);
  expect_fields(json, {"sinks", "pinned", "heads", "audit", "engine_audit"});
  EXPECT_EQ(json.at("heads").size(), 2u * 4u);
  for (const Json& head : json.at("heads")) {
    expect_share(head, "sink_mass");
    expect_share(head, "routed_share");
    expect_share(head, "unread_mass");
  }
  std::ifstream report(out / "report.json");
  EXPECT_EQ(Json::parse(report), json);
  std::ifstream picture(out / "heads.svg");
  const std::string svg((std::istreambuf_iterator<char>(picture)),
                        std::istreambuf_iterator<char>());
  EXPECT_TRUE(svg.starts_with("<svg ")) << svg.substr(0, 40);
  EXPECT_TRUE(svg.ends_with("</svg>\n"));
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(out)) files += entry.exists();
  EXPECT_EQ(files, 2);
}

TEST_F(CliCommands, InspectTheFixedPoint) {
  const TemporaryDirectory folder;
  const Words words = on_model(
      {"inspect", "--context", "200", "--tokens", "4", "--fixed-point", "--out", folder.path()});
  const Json json = json_of(words);
  expect_fields(json.at("fixed_point"), {"reachable", "stable", "error_controllable"});
  for (const char* picture : {"reachable.svg", "stable.svg", "error-controllable.svg"}) {
    EXPECT_TRUE(std::filesystem::exists(folder.path() / picture)) << picture;
  }
  const CliOutcome text = run_cli(words);
  for (const char* part : {"reachable", "stable", "error-controllable", "within bound"}) {
    EXPECT_NE(text.out.find(part), std::string::npos) << text.out;
  }
}

TEST_F(CliCommands, InspectLeavesForeignFilesAlone) {
  const TemporaryDirectory folder;
  std::ofstream(folder.path() / "mine.txt") << "mine";
  EXPECT_EQ(
      run_cli(on_model({"inspect", "--context", "200", "--tokens", "4", "--out", folder.path()}))
          .status,
      0);
  std::ifstream mine(folder.path() / "mine.txt");
  EXPECT_EQ(std::string((std::istreambuf_iterator<char>(mine)), std::istreambuf_iterator<char>()),
            "mine");
  const std::string file = folder.path() / "mine.txt";
  const CliOutcome onto_file =
      run_cli(on_model({"inspect", "--context", "200", "--tokens", "4", "--out", file}));
  EXPECT_EQ(onto_file.status, 1);
  EXPECT_NE(onto_file.err.find("mine.txt"), std::string::npos) << onto_file.err;
}

}  // namespace
}  // namespace sinkrouter::testing
