#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <random>

#include "apps/cli_run.h"
#include "support/tiny_model.h"

namespace sinkrouter::testing {
namespace {

using Words = std::vector<std::string>;

const std::vector<Words> kCommands{
    {"generate"},      {"compare"},       {"eval", "needle"},  {"eval", "perplexity"},
    {"eval", "suite"}, {"eval", "drift"}, {"bench", "decode"}, {"bench", "attention"},
    {"inspect"},
};

Words operator+(Words words, const Words& more) {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

// One line, on stderr only, that names what is wrong.
void expect_failure(const Words& words, int status, const std::string& about,
                    const std::string& input = {}) {
  std::string command;
  for (const std::string& word : words) command += word + " ";
  SCOPED_TRACE(command);
  const CliOutcome outcome = run_cli(words, input);
  EXPECT_EQ(outcome.status, status);
  EXPECT_EQ(outcome.out, "");
  EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
  EXPECT_TRUE(outcome.err.starts_with("sinkrouter: ")) << outcome.err;
  EXPECT_NE(outcome.err.find(about), std::string::npos) << outcome.err;
}

class CliArguments : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    directory_ = new TemporaryDirectory;
    write_tiny_model(directory_->path(), TinyModelShape{}, std::random_device{}());
  }
  static void TearDownTestSuite() {
    delete directory_;
    directory_ = nullptr;
  }
  static std::string model() { return directory_->path(); }
  static Words generate(const Words& more) {
    return Words{"generate", "--model", model(), "--threads", "1", "--max-tokens", "2"} + more;
  }

  static TemporaryDirectory* directory_;
};

TemporaryDirectory* CliArguments::directory_ = nullptr;

TEST_F(CliArguments, EveryCommandHasHelpWithExamples) {
  for (const Words& command : kCommands) {
    SCOPED_TRACE(command.back());
    const CliOutcome outcome = run_cli(command + Words{"--help"});
    EXPECT_EQ(outcome.status, 0);
    EXPECT_EQ(outcome.err, "");
    EXPECT_NE(outcome.out.find("Examples:\n  sinkrouter " + command.front()), std::string::npos)
        << outcome.out;
    EXPECT_NE(outcome.out.find("--json"), std::string::npos);
  }
  EXPECT_EQ(run_cli({"--help"}).status, 0);
  const CliOutcome version = run_cli({"--version"});
  EXPECT_EQ(version.status, 0);
  EXPECT_TRUE(version.out.starts_with("sinkrouter ")) << version.out;
}

TEST_F(CliArguments, UnknownCommandsAndOptionsAreBadArguments) {
  expect_failure({}, 2, "command");
  expect_failure({"frobnicate"}, 2, "frobnicate");
  expect_failure({"eval"}, 2, "command");
  expect_failure({"bench", "nothing"}, 2, "nothing");
  for (const Words& command : kCommands) {
    expect_failure(command + Words{"--model", model(), "--no-such-option"}, 2, "");
  }
  expect_failure(generate({"--prompt", "a", "--epsilon", "lots"}), 2, "epsilon");
  expect_failure(generate({"--prompt", "a", "--epsilon"}), 2, "epsilon");
}

TEST_F(CliArguments, RequiredOptionsAreNamed) {
  for (const Words& command : kCommands) {
    if (command.back() != "attention") expect_failure(command, 2, "");
  }
  expect_failure({"generate", "--prompt", "a"}, 2, "--model");
  expect_failure(generate({}), 2, "--prompt");
  expect_failure(generate({"--prompt", "a", "--prompt-file", "b"}), 2, "--prompt");
  expect_failure({"compare", "--model", model()}, 2, "--needle");
}

TEST_F(CliArguments, PoliciesAndTheirSettingsAreChecked) {
  expect_failure(generate({"--prompt", "a", "--policy", "psychic"}), 2, "psychic");
  expect_failure(generate({"--prompt", "a", "--policy", "margin:colour=3"}), 2, "colour");
  expect_failure(generate({"--prompt", "a", "--policy", "margin:epsilon=x"}), 2, "epsilon");
  expect_failure(generate({"--prompt", "a", "--policy", "margin:epsilon"}), 2, "epsilon");
  expect_failure(generate({"--prompt", "a", "--policy", "margin,dense"}), 2, "one");
  for (const char* epsilon : {"-0.1", "1", "1.5", "nan", "inf"}) {
    expect_failure(generate({"--prompt", "a", "--epsilon", epsilon}), 2, "epsilon");
  }
  expect_failure(generate({"--prompt", "a", "--window", "0"}), 2, "window");
  expect_failure(generate({"--prompt", "a", "--granule", "48"}), 2, "granule");
  expect_failure(generate({"--prompt", "a", "--policy", "cosine", "--tau", "2"}), 2, "tau");
}

TEST_F(CliArguments, EngineAndSamplingOptionsAreChecked) {
  expect_failure(generate({"--prompt", "a", "--device", "abacus"}), 2, "abacus");
  expect_failure(generate({"--prompt", "a", "--device", "cuda"}), 2, "cuda");
  expect_failure(generate({"--prompt", "a", "--kv-dtype", "f8"}), 2, "f8");
  expect_failure(generate({"--prompt", "a", "--page-size", "63"}), 2, "page");
  expect_failure(generate({"--prompt", "a", "--threads", "-1"}), 2, "threads");
  expect_failure(generate({"--prompt", "a", "--capacity", "-5"}), 2, "capacity");
  expect_failure(generate({"--prompt", "a", "--temperature", "-1"}), 2, "temperature");
  expect_failure(generate({"--prompt", "a", "--top-p", "0"}), 2, "top");
  expect_failure({"generate", "--model", model(), "--prompt", "a", "--max-tokens", "0"}, 2,
                 "max-tokens");
}

TEST_F(CliArguments, PromptsAreChecked) {
  expect_failure(generate({"--prompt", ""}), 2, "empty");
  expect_failure(generate({"--prompt-file", "-"}), 2, "empty");
  expect_failure(generate({"--prompt-file", "no/such/file"}), 1, "no/such/file");
  expect_failure(generate({"--prompt-file", "/"}), 1, "/");
  const CliOutcome invalid = run_cli(generate({"--prompt-file", "-"}), "abc \xff\xfe def");
  EXPECT_TRUE(invalid.status == 1 || invalid.status == 2) << invalid.status;
  EXPECT_NE(invalid.err.find("UTF-8"), std::string::npos) << invalid.err;
  EXPECT_EQ(std::count(invalid.err.begin(), invalid.err.end(), '\n'), 1) << invalid.err;
}

TEST_F(CliArguments, PromptsLongerThanThePoolOrTheModelFail) {
  std::string text;
  for (int i = 0; i < 3000; ++i) text += "seven " + std::to_string(i) + "\n";
  expect_failure(generate({"--prompt-file", "-"}), 1, "max_position_embeddings", text);
  expect_failure(generate({"--prompt-file", "-", "--capacity", "128"}), 1, "",
                 text.substr(0, 3000));
}

TEST_F(CliArguments, MissingAndBrokenCheckpointsFail) {
  expect_failure({"generate", "--model", "no/such/model", "--prompt", "a"}, 1, "no/such/model");
  const TemporaryDirectory broken;
  std::filesystem::copy(model(), broken.path(), std::filesystem::copy_options::recursive);
  std::ofstream(broken.path() / "config.json") << "{\"model_type\": ";
  expect_failure({"inspect", "--model", broken.path(), "--prompt", "a"}, 1, "config.json");
}

TEST_F(CliArguments, EvalAndBenchOptionsAreChecked) {
  const Words needle{"eval", "needle", "--model", model(), "--context", "512"};
  expect_failure(needle + Words{"--samples", "0"}, 2, "samples");
  expect_failure(needle + Words{"--samples", "4", "--documents", "5"}, 2, "documents");
  expect_failure(needle + Words{"--decoded", "-1"}, 2, "decoded");
  expect_failure(needle + Words{"--decoded", "512"}, 2, "decoded");
  expect_failure(needle + Words{"--decoded", "500"}, 2, "decoded");
  expect_failure(needle + Words{"--wordings", "rude"}, 2, "rude");
  expect_failure(needle + Words{"--question", "never"}, 2, "never");
  expect_failure(needle + Words{"--text", "no/such/text"}, 1, "no/such/text");
  expect_failure(needle + Words{"--policy", "margin,psychic"}, 2, "psychic");
  const Words suite{"eval", "suite", "--model", model(), "--out", "no/such/folder", "--tasks"};
  expect_failure(suite + Words{"cooking"}, 2, "cooking");
  expect_failure(suite + Words{"needle", "--contexts", "100"}, 2, "context");
  expect_failure(suite + Words{"needle", "--contexts", "1024,lots"}, 2, "contexts");
  expect_failure(suite + Words{"needle", "--question", "never"}, 2, "never");
  expect_failure(suite + Words{"needle", "--contexts", "1024", "--samples", "0"}, 2, "samples");
  expect_failure(suite + Words{"perplexity-code", "--contexts", "1024"}, 2, "--code");
  expect_failure(suite + Words{"needle", "--code", "no/such/code"}, 1, "no/such/code");
  EXPECT_FALSE(std::filesystem::exists("no"));
  const Words drift{"eval", "drift", "--model", model(), "--out", "no/such/folder"};
  expect_failure(drift, 2, "--code");
  expect_failure(drift + Words{"--code", "no/such/code"}, 1, "no/such/code");
  EXPECT_FALSE(std::filesystem::exists("no"));
  const Words perplexity{"eval", "perplexity", "--model", model(), "--context", "128"};
  expect_failure(perplexity + Words{"--tokens", "128"}, 2, "tokens");
  expect_failure({"bench", "attention", "--shape", "cube"}, 2, "cube");
  expect_failure({"bench", "attention", "--head-dim", "72"}, 2, "72");
  expect_failure({"bench", "attention", "--q-heads", "7"}, 2, "heads");
  expect_failure({"bench", "attention", "--routed", "1.5"}, 2, "routed");
  expect_failure({"bench", "attention", "--context", "0"}, 2, "context");
}

TEST_F(CliArguments, InspectOptionsAreChecked) {
  const Words inspect{"inspect", "--model", model(), "--context", "100"};
  expect_failure(inspect + Words{"--tokens", "0"}, 2, "tokens");
  expect_failure(inspect + Words{"--tokens", "100"}, 2, "100 to observe");
  expect_failure(inspect + Words{"--noise", "0.1"}, 2, "--fixed-point");
  expect_failure(inspect + Words{"--perturbed", "3"}, 2, "--fixed-point");
  const Words fixed_point = inspect + Words{"--tokens", "4", "--fixed-point"};
  for (const char* sizes : {"0", "-1", "inf", "nan", "0.1,0"}) {
    expect_failure(fixed_point + Words{"--noise", sizes}, 2, "more than 0");
  }
  expect_failure(fixed_point + Words{"--noise", "loud"}, 2, "loud");
  expect_failure(fixed_point + Words{"--noise", "1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1"}, 2,
                 "at most 16");
  expect_failure(fixed_point + Words{"--perturbed", "-1"}, 2, "perturbed");
}

TEST_F(CliArguments, TextsThatAreTooShortOrNotUtf8Fail) {
  const TemporaryDirectory folder;
  const std::string text = folder.path() / "short.txt";
  std::ofstream(text) << "one line\nanother line\n";
  expect_failure(
      {"eval", "needle", "--model", model(), "--context", "512", "--samples", "2", "--text", text},
      2, "--text");
  const Words drift{"eval",           "drift",     "--model", model(),  "--out",
                    "no/such/folder", "--context", "128",     "--code", text};
  expect_failure(drift + Words{"--tokens", "16"}, 2, "tokens");
  expect_failure(drift + Words{"--tokens", "100"}, 2, "code");
  EXPECT_FALSE(std::filesystem::exists("no"));
  expect_failure({"eval", "perplexity", "--model", model(), "--context", "512", "--text", text}, 2,
                 "--text");
  expect_failure({"bench", "decode", "--model", model(), "--context", "512", "--text", text}, 2,
                 "--text");
  std::ofstream(text) << "not \xc3 text";
  expect_failure({"bench", "decode", "--model", model(), "--context", "512", "--text", text}, 1,
                 "UTF-8");
}

}  // namespace
}  // namespace sinkrouter::testing
