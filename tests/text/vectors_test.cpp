// The published vectors of real vocabularies, where they are present: beside the checkout in
// ../shared, or where SINKROUTER_SHARED says.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <sstream>

#include "sinkrouter/tokenizer.h"
#include "text/tokenizer_files.h"

namespace sinkrouter {
namespace {

namespace fs = std::filesystem;

fs::path vectors_directory() {
  const char* shared = std::getenv("SINKROUTER_SHARED");
  return fs::path(shared != nullptr ? shared : SINKROUTER_SOURCE_DIR "/../shared") / "tokenizers";
}

std::string read(const fs::path& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

std::vector<std::string> read_texts(const fs::path& path) {
  constexpr std::string_view kSeparator = "\n__ggml_vocab_test__\n";
  const std::string content = read(path);
  std::vector<std::string> texts;
  std::size_t at = 0;
  for (std::size_t end = content.find(kSeparator); end != std::string::npos;
       end = content.find(kSeparator, at)) {
    texts.push_back(content.substr(at, end - at));
    at = end + kSeparator.size();
  }
  return texts;
}

std::vector<std::vector<int>> read_ids(const fs::path& path) {
  std::istringstream lines(read(path));
  std::vector<std::vector<int>> all;
  for (std::string line; std::getline(lines, line);) {
    std::istringstream numbers(line);
    all.emplace_back(std::istream_iterator<int>(numbers), std::istream_iterator<int>());
  }
  return all;
}

class VectorsTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!fs::exists(directory_)) GTEST_SKIP() << "no vectors at " << directory_;
  }

  void check(const Tokenizer& tokenizer, const fs::path& texts_file, const fs::path& ids_file,
             bool round_trips) const {
    const auto texts = read_texts(directory_ / texts_file);
    auto ids = read_ids(directory_ / ids_file);
    // Yi's file also has a line for the nothing behind the last separator.
    if (ids.size() == texts.size() + 1 && ids.back().empty()) ids.pop_back();
    ASSERT_GT(texts.size(), 40u);
    ASSERT_EQ(texts.size(), ids.size());
    for (std::size_t i = 0; i < texts.size(); ++i) {
      EXPECT_EQ(tokenizer.encode(texts[i], {.add_special = false}), ids[i])
          << i << ": " << testing::PrintToString(texts[i]);
      if (round_trips) {
        EXPECT_EQ(tokenizer.decode(ids[i]), texts[i]);
      }
    }
  }

  const fs::path directory_ = vectors_directory();
};

TEST_F(VectorsTest, Llama3) {
  const auto tokenizer = Tokenizer::load(directory_ / "llama3");
  EXPECT_EQ(tokenizer->vocab_size(), 128256);
  EXPECT_EQ(tokenizer->bos_id(), 128000);
  EXPECT_EQ(tokenizer->encode("").front(), 128000);
  EXPECT_EQ(tokenizer->find("<|eot_id|>"), 128009);
  EXPECT_EQ(tokenizer->find("<|reserved_special_token_247|>"), 128255);
  check(*tokenizer, "ggml-vocab-llama-bpe.gguf.inp", "ggml-vocab-llama-bpe.gguf.out", true);
}

TEST_F(VectorsTest, Llama2) {
  const auto tokenizer = Tokenizer::load(directory_ / "llama2");
  EXPECT_EQ(tokenizer->vocab_size(), 32000);
  EXPECT_EQ(tokenizer->encode("").front(), 1);
  check(*tokenizer, "ggml-vocab-llama-spm.gguf.inp", "ggml-vocab-llama-spm.gguf.out", true);
}

TEST_F(VectorsTest, Yi) {
  const test::TemporaryDirectory copy;
  fs::copy_file(directory_ / "yi" / "yi.tokenizer.json", copy.path() / "tokenizer.json");
  const auto tokenizer = Tokenizer::load(copy.path());
  EXPECT_EQ(tokenizer->vocab_size(), 64000);
  // Its decoder drops a leading space that its encoder does not add.
  check(*tokenizer, "ggml-vocab-llama-bpe.gguf.inp", fs::path("yi") / "yi.out", false);
}

}  // namespace
}  // namespace sinkrouter
