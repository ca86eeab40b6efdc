#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <random>
#include <set>

#include "apps/suite_texts.h"
#include "eval/suite/directory_lock.h"
#include "eval/suite/forks.h"
#include "eval/suite/plan.h"
#include "sinkrouter/error.h"
#include "sinkrouter/suite.h"
#include "support/tiny_model.h"

namespace sinkrouter {
namespace {

using Json = nlohmann::ordered_json;

class Suite : public ::testing::Test {
 protected:
  Suite()
      : seed_(std::random_device{}()),
        trace_(__FILE__, __LINE__, ::testing::Message() << "seed " << seed_),
        texts_{.prose = testing::made_up_texts(seed_, 2, 1500),
               .code = testing::made_up_texts(seed_ + 1, 1, 1500)} {
    testing::write_tiny_model(model(), {.layers = 1}, seed_);
    options_ = {.tasks = {SuiteTask::kNeedle, SuiteTask::kWords, SuiteTask::kPerplexityCode},
                .contexts = {1500},
                .policies = {{.text = "streaming", .options = {.kind = PolicyKind::kStreaming}}},
                .samples = 5,
                .documents = 2,
                .tokens = 16,
                .batch = 2,
                .seed = 7,
                .version = "9.9"};
  }

  std::filesystem::path model() {
    std::filesystem::create_directories(directory_.path() / "model");
    return directory_.path() / "model";
  }
  std::filesystem::path out() const { return directory_.path() / "results"; }
  std::filesystem::path file() const { return out() / "suite.json"; }

  EngineOptions engine_options() {
    EngineOptions options;
    options.model = model();
    options.threads = 1;
    options.kv_dtype = DType::kF32;
    options.capacity_tokens = suite_capacity(options_, options.page_size);
    return options;
  }
  SuiteResult run(const Progress& progress = {}) {
    Engine engine(engine_options());
    return eval_suite(engine, texts_, options_, out(), progress);
  }

  static std::string content(const std::filesystem::path& path) {
    std::ifstream stream(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
  }
  void write(const std::string& text) const {
    std::filesystem::create_directories(out());
    std::ofstream(file(), std::ios::binary) << text;
  }

  // One line about `about`, and the directory as it was.
  void expect_refusal(const std::string& about) {
    const std::string before = content(file());
    std::vector<std::string> names;
    const auto entries = [&] {
      std::vector<std::string> found;
      if (!std::filesystem::is_directory(out())) return found;
      for (const auto& entry : std::filesystem::directory_iterator(out())) {
        found.push_back(entry.path().filename());
      }
      return found;
    };
    const std::vector<std::string> there = entries();
    try {
      run();
      FAIL() << "not refused: " << about;
    } catch (const Error& error) {
      const std::string message = error.what();
      EXPECT_EQ(error.kind(), Error::Kind::kInvalidFile) << message;
      EXPECT_NE(message.find(about), std::string::npos) << message;
      EXPECT_EQ(message.find('\n'), std::string::npos) << message;
    }
    EXPECT_EQ(content(file()), before);
    EXPECT_EQ(entries(), there);
  }

  // All but times.
  static Json without_seconds(const SuiteResult& result) {
    Json json = Json::parse(to_json(result));
    for (Json& cell : json["cells"]) cell.erase("seconds");
    return json;
  }

  testing::TemporaryDirectory directory_;
  std::uint64_t seed_;
  ::testing::ScopedTrace trace_;
  SuiteTexts texts_;
  SuiteOptions options_;
};

struct Stop {};

TEST_F(Suite, FillsEveryCellAndTheFileHoldsTheResult) {
  const SuiteResult result = run();
  // Two modes of two tasks and one of perplexity, each dense and streaming.
  ASSERT_EQ(result.cells.size(), 10u);
  for (const SuiteCell& cell : result.cells) {
    EXPECT_TRUE(result.is_complete(cell));
    EXPECT_EQ(cell.samples(), is_perplexity(cell.task) ? 2 : 5);
    EXPECT_EQ(cell.context, 1500);
    EXPECT_EQ(cell.model, "model");
    EXPECT_EQ(cell.seed, 7u);
    EXPECT_EQ(cell.version, "9.9");
    if (cell.policy == "dense") {
      EXPECT_DOUBLE_EQ(cell.score(), result.dense_score(cell));
      EXPECT_DOUBLE_EQ(cell.reads.kv_read_fraction(), 1.0);
    } else if (cell.mode == SuiteMode::kDecode) {
      EXPECT_LT(cell.reads.kv_read_fraction(), 0.4);
    }
    if (is_perplexity(cell.task)) {
      EXPECT_EQ(cell.reads.tokens, 2 * 16);
    }
  }
  EXPECT_EQ(content(file()), to_json(result) + "\n");
  EXPECT_EQ(to_json(read_suite(out())), to_json(result));
  EXPECT_EQ(without_seconds(run()), without_seconds(result));
}

TEST_F(Suite, GoesOnWhereItWasStopped) {
  const SuiteResult whole = run();
  std::filesystem::remove_all(out());
  int stops = 0;
  for (;; ++stops) {
    ASSERT_LT(stops, 100);
    // Each run gets one document further, so that cells are left half done too.
    std::string first;
    int documents = 0;
    const auto stop_soon = [&](std::string_view what, double) {
      const std::string document(what.substr(0, what.find(':')));
      if (document == first) return;
      first = document;
      if (++documents == 2) throw Stop{};
    };
    try {
      EXPECT_EQ(without_seconds(run(stop_soon)), without_seconds(whole));
      break;
    } catch (const Stop&) {
      const SuiteResult part = read_suite(out());
      int missing = static_cast<int>(whole.cells.size() - part.cells.size());
      for (const SuiteCell& cell : part.cells) missing += part.is_complete(cell) ? 0 : 1;
      EXPECT_GT(missing, 0);
    }
  }
  EXPECT_EQ(stops, 5);  // six documents
}

TEST_F(Suite, TakesMorePoliciesTasksAndContextsIn) {
  const std::string first = without_seconds(run()).dump();
  options_.tasks = {SuiteTask::kNeedle};
  options_.contexts = {1400, 1500};
  options_.policies = {{.text = "margin:epsilon=0", .options = {.epsilon = 0}}};
  texts_.code.clear();
  const SuiteResult more = run();
  EXPECT_EQ(more.cells.size(), 10u + 2 + 4);
  EXPECT_EQ(more.cells.front().context, 1400);
  for (const SuiteCell& cell : more.cells) {
    if (cell.policy != "margin:epsilon=0") continue;
    EXPECT_EQ(cell.samples(), 5);
    // Nothing is left out.
    EXPECT_DOUBLE_EQ(cell.score(), more.dense_score(cell));
    EXPECT_GT(cell.reads.kv_read_fraction(), 0.99);
  }
}

TEST_F(Suite, RefusesResultsOfOtherSettings) {
  options_.tasks = {SuiteTask::kPerplexity};
  run();
  const auto with = [&](const char* about, const auto& change) {
    SCOPED_TRACE(about);
    const SuiteOptions options = options_;
    const SuiteTexts texts = texts_;
    change();
    expect_refusal(about);
    options_ = options;
    texts_ = texts;
  };
  with("settings.seed is 7", [&] { options_.seed = 8; });
  with("settings.samples is 5", [&] { options_.samples = 6; });
  with("settings.documents is 2", [&] { options_.documents = 3; });
  with("settings.tokens is 16", [&] { options_.tokens = 17; });
  with("settings.prose_fingerprint", [&] { texts_.prose[0] += "x"; });
  with("settings.code_fingerprint", [&] { texts_.code[0] += "x"; });
  std::filesystem::create_symlink("loop.model", model() / "loop.model");
  run();  // what cannot be read is no part of the model
  std::filesystem::remove_all(model());
  testing::write_tiny_model(model(), {.layers = 1}, seed_ + 1);
  expect_refusal("settings.model_fingerprint");
}

TEST_F(Suite, RefusesForeignAndBrokenFolders) {
  options_.tasks = {SuiteTask::kPerplexity};
  run();
  const std::string good = content(file());
  const auto with = [&](const std::string& text, const std::string& about) {
    write(text);
    expect_refusal(about);
  };
  const auto replaced = [&](const std::string& what, const std::string& by) {
    std::string text = good;
    const std::size_t at = text.find(what);
    EXPECT_NE(at, std::string::npos) << what;
    return text.replace(at, what.size(), by);
  };
  with("", "not valid JSON");
  with(good.substr(0, good.size() / 2), "not valid JSON");
  with("{}", "'format' is missing");
  with("[]", "expected an object");
  with(replaced("sinkrouter-suite", "other"), "expected 'sinkrouter-suite'");
  with(replaced("\"format_version\": 1", "\"format_version\": 2"), "format_version");
  with(replaced("\"task\": \"perplexity\"", "\"task\": \"cooking\""), "cells[0].task");
  with(replaced("\"documents\": 2,\n      \"samples\"", "\"documents\": 1,\n      \"samples\""),
       "cells[0].scores: found 2 scores");
  with(replaced("\"policy\": \"dense\"", "\"policy\": \"else\""), "policy 'dense'");
  with(replaced("\"policy\": \"streaming\"", "\"policy\": \"dense\""), "second cell");
  with(replaced("\"attention_bytes\": ", "\"attention_bytes\": -"), "attention_bytes");
  with(replaced("\"seconds\": ", "\"seconds\": -"), "expected a number from 0");
  with(replaced("\"router_bytes\"", "\"bytes\""), "'router_bytes' is missing");

  std::filesystem::remove(file());
  std::ofstream(out() / "notes.txt") << "mine";
  expect_refusal("holds files but no suite.json");
  std::filesystem::remove_all(out());
  std::ofstream(out()) << "a file";
  expect_refusal("cannot be made a folder");
}

TEST_F(Suite, RefusesAFolderInUse) {
  options_.tasks = {SuiteTask::kPerplexity};
  std::filesystem::create_directories(out());
  const DirectoryLock lock(out());
  expect_refusal("another run");
}

TEST_F(Suite, BadOptionsMakeNoFolder) {
  const auto expect_bad = [&](const char* about, const auto& change) {
    SCOPED_TRACE(about);
    const SuiteOptions options = options_;
    const SuiteTexts texts = texts_;
    change();
    try {
      run();
      FAIL() << "not refused";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), Error::Kind::kInvalidArgument) << error.what();
      EXPECT_NE(std::string(error.what()).find(about), std::string::npos) << error.what();
    }
    EXPECT_FALSE(std::filesystem::exists(out()));
    options_ = options;
    texts_ = texts;
  };
  expect_bad("tasks", [&] { options_.tasks.clear(); });
  expect_bad("contexts", [&] { options_.contexts = {1500, 1500}; });
  expect_bad("positions", [&] { options_.contexts = {5000}; });
  expect_bad("context is 100", [&] { options_.contexts = {100}; });
  expect_bad("samples", [&] { options_.samples = 1; });
  expect_bad("more documents", [&] { options_.samples = 1000; });
  expect_bad("tokens", [&] { options_.tokens = 1500; });
  expect_bad("batch", [&] { options_.batch = 0; });
  expect_bad("--code", [&] { texts_.code.clear(); });
  expect_bad("--text", [&] { texts_.prose = {"short"}; });
}

TEST_F(Suite, ProgressGoesForward) {
  options_.tasks = {SuiteTask::kMultiKey, SuiteTask::kPerplexity};
  double last = -1;
  run([&](std::string_view what, double done) {
    EXPECT_NE(what.find(" at 1500, document "), std::string_view::npos) << what;
    EXPECT_GE(done, last);
    last = done;
  });
  EXPECT_GT(last, 0.5);
  EXPECT_LE(last, 1.0);
}

TEST_F(Suite, QuestionsBeginWithAllTheyAreAbout) {
  Engine engine(engine_options());
  Rng rng(seed_);
  for (SuiteTask task : {SuiteTask::kMultiKey, SuiteTask::kWords}) {
    const Exercise exercise = make_exercise(engine.tokenizer(), texts_.prose, task, 1500, 3, rng);
    Sequence document = engine.create_sequence();
    engine.prefill(document, exercise.document);
    ExerciseForks forks(engine, document, exercise.questions);
    forks.prefill_questions();
    for (std::size_t i = 0; i < exercise.questions.size(); ++i) {
      const ExerciseQuestion& question = exercise.questions[i];
      EXPECT_EQ(question.tail.empty(), task != SuiteTask::kWords);
      const std::size_t before = exercise.document.size() + question.tail.size();
      const Opening decoded = forks.open(i, SuiteMode::kDecode);
      EXPECT_EQ(decoded.sequence.length(), static_cast<int>(before));
      EXPECT_EQ(decoded.question.size(), question.tokens.size());
      const Opening prefilled = forks.open(i, SuiteMode::kPrefill);
      EXPECT_EQ(prefilled.sequence.length(), static_cast<int>(before + question.tokens.size()));
      EXPECT_TRUE(prefilled.question.empty());
    }
    EXPECT_EQ(document.length(), static_cast<int>(exercise.document.size()));
  }
}

TEST(SuitePlan, SpreadsQuestionsAndGivesDocumentsSeeds) {
  SuiteSettings settings;
  settings.samples = 11;
  settings.documents = 4;
  int last = 0;
  for (int document = 1; document <= 4; ++document) {
    const int questions = questions_before(settings, document) - last;
    EXPECT_TRUE(questions == 2 || questions == 3) << questions;
    last += questions;
  }
  EXPECT_EQ(last, 11);
  std::set<std::uint64_t> seeds;
  for (std::uint64_t seed : {1, 2}) {
    for (SuiteTask task : suite_tasks()) {
      for (int context : {4096, 8192}) {
        for (int document : {0, 1}) seeds.insert(document_seed(seed, task, context, document));
      }
    }
  }
  EXPECT_EQ(seeds.size(), 2 * suite_tasks().size() * 2 * 2);
}

TEST(SuiteNames, AreReadBack) {
  for (SuiteTask task : suite_tasks()) EXPECT_EQ(parse_suite_task(name(task)), task);
  for (SuiteMode mode : {SuiteMode::kDecode, SuiteMode::kPrefill}) {
    EXPECT_EQ(parse_suite_mode(name(mode)), mode);
  }
  EXPECT_THROW(parse_suite_task("cooking"), Error);
  EXPECT_THROW(parse_suite_mode(""), Error);
}

}  // namespace
}  // namespace sinkrouter
