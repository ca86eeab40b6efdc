#include "model/safetensors.h"

#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <random>

#include "model/checkpoint_files.h"
#include "sinkrouter/error.h"
#include "support/tiny_model.h"

namespace sinkrouter {
namespace {

using testing::expect_error;
using testing::RawTensor;
using testing::safetensors_bytes;

SafetensorsHeader parse(std::string_view bytes) {
  return parse_safetensors_header(std::as_bytes(std::span(bytes)), "weights.safetensors");
}

std::vector<RawTensor> sample_tensors(Rng& rng) {
  return {testing::random_tensor("a.weight", "F32", {3, 5}, rng),
          testing::random_tensor("b.weight", "BF16", {7}, rng),
          testing::random_tensor("c.weight", "F16", {2, 1, 3}, rng),
          testing::random_tensor("empty", "F32", {0, 4}, rng),
          testing::random_tensor("scalar", "F16", {}, rng),
          testing::random_tensor("steps", "I64", {2}, rng)};
}

class SafetensorsFileTest : public ::testing::Test {
 protected:
  SafetensorsFile open(std::string_view bytes) {
    testing::write_file(path_, bytes);
    return SafetensorsFile(path_);
  }

  testing::TemporaryDirectory directory_;
  const std::filesystem::path path_ = directory_.path() / "model.safetensors";
  const std::uint64_t seed_ = std::random_device{}();
  ::testing::ScopedTrace trace_{__FILE__, __LINE__, seed_};
  Rng rng_{seed_};
};

void expect_same(const TensorView& view, const RawTensor& tensor) {
  EXPECT_EQ(std::vector<std::int64_t>(view.shape.begin(), view.shape.begin() + view.rank),
            tensor.shape);
  const std::string_view bytes(static_cast<const char*>(view.data),
                               static_cast<std::size_t>(view.bytes()));
  EXPECT_TRUE(bytes == tensor.data) << tensor.name;
}

TEST_F(SafetensorsFileTest, ReadsWhatWasWritten) {
  const std::vector<RawTensor> tensors = sample_tensors(rng_);
  SafetensorsFile file = open(safetensors_bytes(tensors));
  EXPECT_EQ(file.header().tensors.size(), tensors.size());
  EXPECT_EQ(file.tensor("a.weight").dtype, DType::kF32);
  EXPECT_EQ(file.tensor("b.weight").dtype, DType::kBF16);
  EXPECT_EQ(file.tensor("c.weight").dtype, DType::kF16);
  for (const RawTensor& tensor : tensors) {
    if (tensor.dtype != "I64") expect_same(file.tensor(tensor.name), tensor);
  }
}

TEST_F(SafetensorsFileTest, CopiesWhatIsNotAligned) {
  for (std::size_t extra = 1; extra < 8; ++extra) {
    const std::vector<RawTensor> tensors = sample_tensors(rng_);
    SafetensorsFile file = open(safetensors_bytes(tensors, extra));
    std::vector<TensorView> views;
    for (const RawTensor& tensor : tensors) {
      if (tensor.dtype != "I64") views.push_back(file.tensor(tensor.name));
    }
    const SafetensorsFile moved = std::move(file);
    for (std::size_t i = 0; i < views.size(); ++i) {
      expect_same(views[i], tensors[i]);
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(views[i].data) % size_in_bytes(views[i].dtype),
                0u);
    }
  }
}

TEST_F(SafetensorsFileTest, RefusesToReadOtherTensors) {
  std::vector<RawTensor> tensors = sample_tensors(rng_);
  tensors.push_back(testing::random_tensor("deep", "F32", {1, 2, 1, 2, 1}, rng_));
  SafetensorsFile file = open(safetensors_bytes(tensors));
  expect_error([&] { file.tensor("missing"); }, {path_.string(), "no tensor 'missing'"});
  expect_error([&] { file.tensor("steps"); },
               {path_.string(), "'steps' has dtype I64, expected F32, F16 or BF16"});
  expect_error([&] { file.tensor("deep"); }, {"[1, 2, 1, 2, 1]", "at most 4 axes"});
}

TEST_F(SafetensorsFileTest, RefusesFilesThatCannotBeRead) {
  expect_error([&] { SafetensorsFile file(path_); }, {path_.string()});
  expect_error([&] { SafetensorsFile file(directory_.path()); }, {directory_.path().string()});
  expect_error([&] { open(""); }, {path_.string(), "has 0 bytes"});
}

TEST(SafetensorsHeader, ReadsMetadataAndPadding) {
  const SafetensorsHeader header = parse(safetensors_bytes(
      R"({"__metadata__":{"format":"pt"},"x":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}}   )",
      "abc"));
  ASSERT_EQ(header.tensors.size(), 1u);
  EXPECT_EQ(header.tensors.at("x").shape, std::vector<std::int64_t>{3});
  EXPECT_TRUE(parse(safetensors_bytes("{}", "")).tensors.empty());
}

TEST(SafetensorsHeader, KnowsEveryDTypeOfTheFormat) {
  const std::pair<const char*, int> bytes_of_eight[] = {
      {"F64", 64},    {"F32", 32},    {"F16", 16},    {"BF16", 16},   {"F8_E4M3", 8},
      {"F8_E5M2", 8}, {"F8_E8M0", 8}, {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"F4", 4},
      {"I64", 64},    {"I32", 32},    {"I16", 16},    {"I8", 8},      {"U64", 64},
      {"U32", 32},    {"U16", 16},    {"U8", 8},      {"BOOL", 8},    {"C64", 64}};
  for (const auto& [dtype, bytes] : bytes_of_eight) {
    const std::string header = fmt::format(
        R"({{"x":{{"dtype":"{}","shape":[2,4],"data_offsets":[0,{}]}}}})", dtype, bytes);
    EXPECT_EQ(parse(safetensors_bytes(header, std::string(bytes, 'x'))).tensors.at("x").dtype,
              dtype);
  }
}

struct BadHeader {
  const char* header;
  int data_bytes;
  const char* expected;  // in the message
};

void PrintTo(const BadHeader& bad, std::ostream* out) { *out << bad.header; }

class BadSafetensors : public ::testing::TestWithParam<BadHeader> {};

TEST_P(BadSafetensors, IsRefused) {
  const BadHeader& bad = GetParam();
  const std::string bytes =
      safetensors_bytes(bad.header, std::string(static_cast<std::size_t>(bad.data_bytes), 'x'));
  expect_error([&] { parse(bytes); }, {"weights.safetensors: ", bad.expected});
}

INSTANTIATE_TEST_SUITE_P(
    Json, BadSafetensors,
    ::testing::Values(
        BadHeader{"", 0, "does not start with '{'"}, BadHeader{"[]", 0, "does not start with '{'"},
        BadHeader{" {}", 0, "does not start with '{'"}, BadHeader{"{", 0, "not valid JSON"},
        BadHeader{"{}{}", 0, "not valid JSON"}, BadHeader{"{]", 0, "not valid JSON"},
        BadHeader{"{\"x\"", 0, "not valid JSON"}, BadHeader{"{\"x\xff\": {}}", 0, "not valid JSON"},
        BadHeader{R"({"x": NaN})", 0, "not valid JSON"},
        BadHeader{R"({"x": 1e999})", 0, "not valid JSON"},
        BadHeader{R"({"x": 5})", 0, "tensor 'x' is 5, expected an object"},
        BadHeader{R"({"x": -5})", 0, "tensor 'x' is -5, expected an object"},
        BadHeader{R"({"x": null})", 0, "tensor 'x' is null, expected an object"},
        BadHeader{R"({"x": true})", 0, "tensor 'x' is true, expected an object"},
        BadHeader{R"({"x": "y"})", 0, "tensor 'x' is 'y', expected an object"},
        BadHeader{R"({"x": []})", 0, "tensor 'x' is a list, expected an object"},
        BadHeader{R"({"x": {"dtype": {}}})", 0, "has dtype an object, expected a string"},
        BadHeader{R"({"__metadata__": 5})", 0, "'__metadata__' is 5"},
        BadHeader{R"({"__metadata__": {"a": 5}})", 0, "'a' 5, expected a string"},
        BadHeader{R"({"__metadata__": {"a": {}}})", 0, "'a' an object, expected a string"},
        BadHeader{R"({"__metadata__": {}, "__metadata__": {}})", 0, "given twice"}));

INSTANTIATE_TEST_SUITE_P(
    Fields, BadSafetensors,
    ::testing::Values(
        BadHeader{R"({"x": {}})", 0, "tensor 'x' has no dtype"},
        BadHeader{R"({"x": {"shape": [1], "data_offsets": [0, 4]}})", 4, "has no dtype"},
        BadHeader{R"({"x": {"dtype": "F32", "data_offsets": [0, 4]}})", 4, "has no shape"},
        BadHeader{R"({"x": {"dtype": "F32", "shape": [1]}})", 4, "has no data_offsets"},
        BadHeader{R"({"x": {"dtype": "F32", "dtype": "F32"}})", 4, "gives 'dtype' twice"},
        BadHeader{R"({"x": {"dtype": "F32", "more": 1}})", 4, "has a field 'more'"},
        BadHeader{R"({"x": {"dtype": 5}})", 4, "has dtype 5, expected a string"},
        BadHeader{R"({"x": {"dtype": ["F32"]}})", 4, "has dtype a list, expected a string"},
        BadHeader{R"({"x": {"dtype": "FP32", "shape": [1], "data_offsets": [0, 4]}})", 4,
                  "has dtype 'FP32', expected one of"},
        BadHeader{R"({"x": {"shape": 4}})", 4, "has shape 4, expected a list of integers"},
        BadHeader{R"({"x": {"shape": {}}})", 4, "has shape an object, expected a list"},
        BadHeader{R"({"x": {"shape": [-1]}})", 4, "-1, expected integers of at least 0"},
        BadHeader{R"({"x": {"shape": [1.5]}})", 4, "1.5"},
        BadHeader{R"({"x": {"shape": [1e2]}})", 4, "1e2"},
        BadHeader{R"({"x": {"shape": ["1"]}})", 4, "'1'"},
        BadHeader{R"({"x": {"shape": [null]}})", 4, "null"},
        BadHeader{R"({"x": {"shape": [[1]]}})", 4, "a list"},
        BadHeader{R"({"x": {"shape": [9223372036854775808]}})", 4, "fit in 63 bits"},
        BadHeader{R"({"x": {"shape": [18446744073709551616]}})", 4, "18446744073709551616"},
        BadHeader{R"({"x": {"shape": [1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]}})", 4, "16 axes"},
        BadHeader{R"({"x": {"data_offsets": 4}})", 4, "has data_offsets 4"},
        BadHeader{R"({"x": {"data_offsets": []}})", 4, "a list of 0, expected two"},
        BadHeader{R"({"x": {"data_offsets": [0]}})", 4, "a list of 1, expected two"},
        BadHeader{R"({"x": {"data_offsets": [0, 4, 4]}})", 4, "two integers"},
        BadHeader{R"({"x": {"data_offsets": [-4, 0]}})", 4, "-4, expected two integers"},
        BadHeader{R"({"x": {"data_offsets": [0.0, 4]}})", 4, "0.0"}));

INSTANTIATE_TEST_SUITE_P(
    Layout, BadSafetensors,
    ::testing::Values(
        BadHeader{R"({"x": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}})", 4,
                  "[4, 0], expected ascending offsets of at most 4"},
        BadHeader{R"({"x": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}})", 4,
                  "[4, 8], expected ascending offsets of at most 4"},
        BadHeader{
            R"({"x": {"dtype": "U8", "shape": [1], "data_offsets": [0, 18446744073709551615]}})", 4,
            "18446744073709551615"},
        BadHeader{R"({"x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}})", 4,
                  "[0, 4], expected 8 bytes for F32 [2]"},
        BadHeader{R"({"x": {"dtype": "F32", "shape": [], "data_offsets": [0, 8]}})", 8,
                  "expected 4 bytes for F32 []"},
        BadHeader{R"({"x": {"dtype": "F4", "shape": [3], "data_offsets": [0, 1]}})", 1,
                  "whole bytes"},
        BadHeader{R"({"x": {"dtype": "F32", "shape": [4294967296, 4294967296],
                  "data_offsets": [0, 0]}})",
                  0, "[4294967296, 4294967296], expected a size in bits that fits"},
        BadHeader{R"({"x": {"dtype": "U8", "shape": [9223372036854775807, 3, 0],
                  "data_offsets": [0, 0]}})",
                  0, "fits in 64 bits"},
        BadHeader{R"({"x": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]},
                  "y": {"dtype": "U8", "shape": [4], "data_offsets": [2, 6]}})",
                  6, "tensor 'y' begins at offset 2, expected 4"},
        BadHeader{R"({"x": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]},
                  "y": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}})",
                  4, "neither overlap nor leave holes"},
        BadHeader{R"({"x": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]},
                  "y": {"dtype": "U8", "shape": [1], "data_offsets": [2, 3]}})",
                  3, "tensor 'y' begins at offset 2, expected 1"},
        BadHeader{R"({"x": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}})", 3,
                  "tensors end at offset 1, expected 3"},
        BadHeader{R"({})", 3, "tensors end at offset 0, expected 3"},
        BadHeader{R"({"x": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]},
                  "x": {"dtype": "U8", "shape": [1], "data_offsets": [1, 2]}})",
                  2, "tensor 'x' is given twice"}));

TEST(SafetensorsHeader, RefusesLengthsBeyondTheFile) {
  const std::string valid = safetensors_bytes("{}", "");
  for (const std::uint64_t length :
       {std::uint64_t{3}, std::uint64_t{100'000'000}, std::uint64_t{100'000'001},
        std::numeric_limits<std::uint64_t>::max(), std::uint64_t{1} << 63}) {
    std::string bytes = valid;
    std::memcpy(bytes.data(), &length, sizeof(length));
    expect_error([&] { parse(bytes); },
                 {"weights.safetensors: header length is", std::to_string(length)});
  }
}

TEST(SafetensorsHeader, RefusesDeepNestingWithoutRecursion) {
  const std::string deep = "{\"x\":" + std::string(1'000'000, '[');
  expect_error([&] { parse(safetensors_bytes(deep, "")); }, {"tensor 'x' is a list"});
}

TEST(SafetensorsHeader, RefusesEveryTruncation) {
  const std::uint64_t seed = std::random_device{}();
  SCOPED_TRACE(seed);
  Rng rng(seed);
  const std::string bytes = safetensors_bytes(sample_tensors(rng));
  EXPECT_NO_THROW(parse(bytes));
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    // A copy of its own, so that the sanitizers see a read past the end.
    const std::vector<char> cut(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(length));
    EXPECT_THROW(parse({cut.data(), cut.size()}), Error) << length << " of " << bytes.size();
  }
}

// Whatever a header says, parsing either throws Error or yields entries inside the file.
TEST(SafetensorsHeader, SurvivesMutations) {
  const std::uint64_t seed = std::random_device{}();
  SCOPED_TRACE(seed);
  Rng rng(seed);
  const std::string valid = safetensors_bytes(sample_tensors(rng));
  const std::string_view alphabet = "0123456789-.eE[]{}\",:xF\\\xff ";
  int refused = 0;
  for (int round = 0; round < 20000; ++round) {
    std::string bytes = valid;
    const std::uint64_t changes = 1 + rng.below(4);
    for (std::uint64_t change = 0; change < changes; ++change) {
      const std::size_t at = rng.below(bytes.size());
      switch (rng.below(3)) {
        case 0:
          bytes[at] = alphabet[rng.below(alphabet.size())];
          break;
        case 1:
          bytes.insert(at, 1, alphabet[rng.below(alphabet.size())]);
          break;
        default:
          bytes.erase(at, 1);
      }
    }
    try {
      const SafetensorsHeader header = parse(bytes);
      for (const auto& [name, entry] : header.tensors) {
        ASSERT_LE(entry.begin, entry.end);
        ASSERT_LE(entry.end, bytes.size() - header.data_start);
      }
    } catch (const Error& error) {
      ASSERT_EQ(std::string_view(error.what()).find('\n'), std::string_view::npos);
      ++refused;
    }
  }
  EXPECT_GT(refused, 10000);
}

}  // namespace
}  // namespace sinkrouter
