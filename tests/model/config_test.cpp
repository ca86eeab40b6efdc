#include "model/config.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "model/checkpoint_files.h"
#include "sinkrouter/error.h"
#include "support/tiny_model.h"

namespace sinkrouter {
namespace {

using nlohmann::json;
using testing::expect_error;
using testing::llama_config_json;

LlamaConfig parse(const json& config) {
  return parse_llama_config(config.dump(), "dir/config.json");
}

TEST(Config, ReadsEveryField) {
  const LlamaConfig config = parse(llama_config_json());
  EXPECT_EQ(config.vocab_size, 128256);
  EXPECT_EQ(config.hidden_size, 4096);
  EXPECT_EQ(config.intermediate_size, 14336);
  EXPECT_EQ(config.layers, 32);
  EXPECT_EQ(config.q_heads, 32);
  EXPECT_EQ(config.kv_heads, 8);
  EXPECT_EQ(config.head_dim, 128);
  EXPECT_FLOAT_EQ(config.rms_norm_epsilon, 1e-5f);
  EXPECT_FALSE(config.tied_embeddings);
  EXPECT_EQ(config.max_positions, 131072);
  EXPECT_EQ(config.rope.type, RopeType::kLlama3);
  EXPECT_EQ(config.rope.theta, 500000.0);
  EXPECT_EQ(config.rope.factor, 8.0);
  EXPECT_EQ(config.rope.low_freq_factor, 1.0);
  EXPECT_EQ(config.rope.high_freq_factor, 4.0);
  EXPECT_EQ(config.rope.original_max_positions, 8192);
  EXPECT_EQ(config.bos_id, 128000);
  EXPECT_EQ(config.eos_ids, (std::vector<int>{128001, 128008, 128009}));
}

TEST(Config, FillsInTransformersDefaults) {
  const LlamaConfig config = parse({{"model_type", "llama"},
                                    {"vocab_size", 32000},
                                    {"hidden_size", 4096},
                                    {"intermediate_size", 11008},
                                    {"num_hidden_layers", 32},
                                    {"num_attention_heads", 32},
                                    {"num_key_value_heads", nullptr},
                                    {"rope_scaling", nullptr},
                                    {"quantization_config", nullptr}});
  EXPECT_EQ(config.kv_heads, 32);
  EXPECT_EQ(config.head_dim, 128);
  EXPECT_FLOAT_EQ(config.rms_norm_epsilon, 1e-6f);
  EXPECT_FALSE(config.tied_embeddings);
  EXPECT_EQ(config.max_positions, 2048);
  EXPECT_EQ(config.rope.type, RopeType::kDefault);
  EXPECT_EQ(config.rope.theta, 10000.0);
  EXPECT_EQ(config.bos_id, 1);
  EXPECT_EQ(config.eos_ids, std::vector<int>{2});
}

TEST(Config, NullIdsMeanNone) {
  json config = llama_config_json();
  config["bos_token_id"] = nullptr;
  config["eos_token_id"] = nullptr;
  EXPECT_EQ(parse(config).bos_id, std::nullopt);
  EXPECT_TRUE(parse(config).eos_ids.empty());
  config["eos_token_id"] = 7;
  EXPECT_EQ(parse(config).eos_ids, std::vector<int>{7});
}

TEST(Config, HeadDimMayDifferFromHiddenOverHeads) {
  json config = llama_config_json();
  config["head_dim"] = 64;
  EXPECT_EQ(parse(config).head_dim, 64);
  config["hidden_size"] = 4097;
  EXPECT_EQ(parse(config).head_dim, 64);
}

TEST(Config, ReadsRopeOfTransformersFive) {
  json config = llama_config_json();
  config.erase("rope_scaling");
  config.erase("rope_theta");
  config["rope_parameters"] = {{"rope_type", "linear"}, {"factor", 4.0}, {"rope_theta", 12345.0}};
  EXPECT_EQ(parse(config).rope.type, RopeType::kLinear);
  EXPECT_EQ(parse(config).rope.factor, 4.0);
  EXPECT_EQ(parse(config).rope.theta, 12345.0);
  config["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 5e6}};
  EXPECT_EQ(parse(config).rope.type, RopeType::kDefault);
  EXPECT_EQ(parse(config).rope.theta, 5e6);
}

TEST(Config, ReadsRopeOfTransformersFour) {
  json config = llama_config_json();
  config["rope_scaling"] = {{"type", "linear"}, {"factor", 2}};
  EXPECT_EQ(parse(config).rope.type, RopeType::kLinear);
  EXPECT_EQ(parse(config).rope.factor, 2.0);
  EXPECT_EQ(parse(config).rope.theta, 500000.0);
  config["rope_scaling"] = json::object();
  EXPECT_EQ(parse(config).rope.type, RopeType::kDefault);
}

TEST(Config, OriginalPositionsFallBackToMaximum) {
  json config = llama_config_json();
  config["rope_scaling"].erase("original_max_position_embeddings");
  EXPECT_EQ(parse(config).rope.original_max_positions, 131072);
  config["original_max_position_embeddings"] = 4096;
  EXPECT_EQ(parse(config).rope.original_max_positions, 4096);
}

struct BadField {
  const char* path;  // JSON pointer
  const char* value;
  const char* expected;  // in the message
};

void PrintTo(const BadField& bad, std::ostream* out) { *out << bad.path << " = " << bad.value; }

class BadConfig : public ::testing::TestWithParam<BadField> {};

TEST_P(BadConfig, IsRefused) {
  json config = llama_config_json();
  const json::json_pointer path(GetParam().path);
  config[path] = json::parse(GetParam().value);
  expect_error([&] { parse(config); }, {"dir/config.json", path.back(), GetParam().expected});
}

INSTANTIATE_TEST_SUITE_P(
    Sizes, BadConfig,
    ::testing::Values(
        BadField{"/vocab_size", "0", "0, expected an integer from 1 to"},
        BadField{"/vocab_size", "-1", "-1"}, BadField{"/vocab_size", "1e3", "1000.0, expected"},
        BadField{"/vocab_size", "99999999999", "99999999999"},
        BadField{"/vocab_size", "18446744073709551615", "18446744073709551615"},
        BadField{"/vocab_size", "99999999999999999999999", "expected an integer"},
        BadField{"/vocab_size", "\"32000\"", "'32000', expected"},
        BadField{"/vocab_size", "null", "'vocab_size' is missing"},
        BadField{"/vocab_size", "true", "true"}, BadField{"/vocab_size", "[1]", "an array"},
        BadField{"/hidden_size", "0", "0"}, BadField{"/hidden_size", "2147483648", "2147483648"},
        BadField{"/intermediate_size", "0", "0"}, BadField{"/intermediate_size", "-5", "-5"},
        BadField{"/intermediate_size", "1099511627776", "1099511627776"},
        BadField{"/num_hidden_layers", "0", "0"},
        BadField{"/num_hidden_layers", "1000000000", "1000000000"},
        BadField{"/num_hidden_layers", "1.5", "1.5"}, BadField{"/num_attention_heads", "0", "0"},
        BadField{"/num_attention_heads", "65536", "65536"},
        BadField{"/num_key_value_heads", "0", "0"},
        BadField{"/num_key_value_heads", "5", "a divisor of num_attention_heads 32"},
        BadField{"/num_key_value_heads", "64", "a divisor of num_attention_heads 32"},
        BadField{"/head_dim", "0", "0"}, BadField{"/head_dim", "127", "an even number"},
        BadField{"/head_dim", "2048", "2048"}, BadField{"/max_position_embeddings", "0", "0"},
        BadField{"/max_position_embeddings", "4294967296", "4294967296"},
        BadField{"/bos_token_id", "128256", "an integer from 0 to 128255"},
        BadField{"/bos_token_id", "-1", "-1"}, BadField{"/eos_token_id", "128256", "128255"},
        BadField{"/eos_token_id", "[5, -1]", "found -1"},
        BadField{"/eos_token_id", "[5, [6]]", "eos_token_id[1]: found an array"},
        BadField{"/eos_token_id", "[5, 128256]", "found 128256"},
        BadField{"/eos_token_id", "\"</s>\"", "'</s>'"}));

INSTANTIATE_TEST_SUITE_P(
    Kinds, BadConfig,
    ::testing::Values(
        BadField{"/model_type", "\"mistral\"", "'mistral', expected 'llama'"},
        BadField{"/model_type", "null", "missing"}, BadField{"/model_type", "7", "a string"},
        BadField{"/architectures", "[\"GPT2LMHeadModel\"]", "found 'GPT2LMHeadModel'"},
        BadField{"/architectures", "[]", "an array with 'LlamaForCausalLM'"},
        BadField{"/architectures", "\"LlamaForCausalLM\"", "an array with 'LlamaForCausalLM'"},
        BadField{"/architectures", "[7]", "architectures[0]: found 7, expected a string"},
        BadField{"/architectures", "[7, \"a\"]", "an array with 'LlamaForCausalLM'"},
        BadField{"/attention_bias", "true", "biases are not supported"},
        BadField{"/attention_bias", "0", "true or false"},
        BadField{"/mlp_bias", "true", "biases are not supported"},
        BadField{"/hidden_act", "\"gelu\"", "'gelu', expected 'silu'"},
        BadField{"/hidden_act", "1", "a string"},
        BadField{"/tie_word_embeddings", "\"no\"", "true or false"},
        BadField{"/quantization_config", "{\"bits\": 4}", "an object, expected none"},
        BadField{"/rms_norm_eps", "-1e-5", "a number from"},
        BadField{"/rms_norm_eps", "0", "a number from"},
        BadField{"/rms_norm_eps", "2", "a number from"},
        BadField{"/rms_norm_eps", "\"NaN\"", "'NaN'"}));

INSTANTIATE_TEST_SUITE_P(
    Rope, BadConfig,
    ::testing::Values(
        BadField{"/rope_theta", "-10000", "a number from 1"},
        BadField{"/rope_theta", "0", "a number from 1"},
        BadField{"/rope_theta", "1e300", "a number from 1"},
        BadField{"/rope_theta", "\"10000\"", "'10000'"},
        BadField{"/rope_scaling", "4.0", "an object"},
        BadField{"/rope_scaling/rope_type", "\"yarn\"", "'yarn', expected 'default', 'linear'"},
        BadField{"/rope_scaling/rope_type", "\"dynamic\"", "'dynamic'"},
        BadField{"/rope_scaling/rope_type", "3", "a string"},
        BadField{"/rope_scaling/rope_theta", "-1", "a number from 1"},
        BadField{"/rope_scaling/factor", "null", "rope_scaling: 'factor' is missing"},
        BadField{"/rope_scaling/factor", "0", "rope_scaling.factor: found 0"},
        BadField{"/rope_scaling/factor", "-8", "-8"},
        BadField{"/rope_scaling/factor", "1e20", "a number from 1"},
        BadField{"/rope_scaling/low_freq_factor", "0", "a number from"},
        BadField{"/rope_scaling/low_freq_factor", "null", "missing"},
        BadField{"/rope_scaling/high_freq_factor", "1", "more than low_freq_factor 1"},
        BadField{"/rope_scaling/high_freq_factor", "null", "missing"},
        BadField{"/rope_scaling/original_max_position_embeddings", "0", "an integer from 1"},
        BadField{"/rope_scaling/partial_rotary_factor", "0.5", "RoPE must turn whole heads"},
        BadField{"/partial_rotary_factor", "0.25", "RoPE must turn whole heads"}));

TEST(Config, RefusesHiddenSizeThatHeadsDoNotDivide) {
  json config = llama_config_json();
  config.erase("head_dim");
  config["hidden_size"] = 4095;
  expect_error([&] { parse(config); }, {"hidden_size: found 4095", "num_attention_heads 32 times"});
  config["hidden_size"] = 32 * 63;
  expect_error([&] { parse(config); }, {"hidden_size: found 2016", "even"});
}

TEST(Config, RefusesWhatIsNotAJsonObject) {
  const auto parse_text = [](std::string_view text) {
    return [text] { parse_llama_config(text, "config.json"); };
  };
  expect_error(parse_text(""), {"config.json: not valid JSON at byte"});
  expect_error(parse_text("{\"vocab_size\": NaN}"), {"config.json: not valid JSON at byte 16"});
  expect_error(parse_text("{\"a\": \"\xff\"}"), {"not valid JSON at byte"});
  expect_error(parse_text("{\"a\": Infinity}"), {"not valid JSON at byte"});
  expect_error(parse_text("{\"a\": 1e999}"), {"a number is out of range"});
  expect_error(parse_text("{} {}"), {"not valid JSON at byte"});
  expect_error(parse_text("[]"), {"found an array, expected an object"});
  expect_error(parse_text("7"), {"found 7, expected an object"});
  expect_error(parse_text("{\"a\": 1, \"a\": 1}"), {"key 'a' is given twice"});
  expect_error(parse_text("{\"a\": {\"b\": 1, \"b\": 2}}"), {"key 'b' is given twice"});
  expect_error(parse_text(std::string(100000, '[')), {"nested deeper than"});
}

TEST(Config, ErrorsStayShortAndPrintable) {
  json config = llama_config_json();
  config["model_type"] = "line\nbreak" + std::string(100000, 'x');
  expect_error([&] { parse(config); }, {"line\\x0abreak", "...'"});
  try {
    parse(config);
  } catch (const Error& error) {
    EXPECT_LT(std::string_view(error.what()).size(), 300u);
  }
}

TEST(Config, LoadsFromDirectory) {
  testing::TemporaryDirectory directory;
  const auto load = [&] { load_llama_config(directory.path()); };
  expect_error(load, {directory.path().string(), "no config.json"});
  testing::write_file(directory.path() / "config.json", llama_config_json().dump(2));
  EXPECT_EQ(load_llama_config(directory.path()).layers, 32);
  expect_error([&] { load_llama_config(directory.path() / "missing"); },
               {"missing is not a directory"});
  expect_error([&] { load_llama_config(directory.path() / "config.json"); },
               {"config.json is not a directory"});
}

// The formulas in double precision; transformers' own values are in fp32.
std::vector<double> exact_frequencies(const LlamaConfig& config) {
  std::vector<double> result;
  for (int i = 0; i < config.head_dim; i += 2) {
    double frequency = std::pow(config.rope.theta, -static_cast<double>(i) / config.head_dim);
    if (config.rope.type == RopeType::kLinear) frequency /= config.rope.factor;
    if (config.rope.type == RopeType::kLlama3) {
      const RopeConfig& rope = config.rope;
      const double turns = rope.original_max_positions * frequency / (2.0 * std::numbers::pi);
      const double smooth = std::clamp(
          (turns - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor), 0.0,
          1.0);
      frequency *= smooth + (1.0 - smooth) / rope.factor;
    }
    result.push_back(frequency);
  }
  return result;
}

TEST(InverseFrequencies, FollowTheFormulas) {
  const std::uint64_t seed = std::random_device{}();
  SCOPED_TRACE(seed);
  Rng rng(seed);
  for (int round = 0; round < 200; ++round) {
    LlamaConfig config;
    config.head_dim = 2 * static_cast<int>(1 + rng.below(128));
    config.rope.type = static_cast<RopeType>(rng.below(3));
    config.rope.theta = std::exp(4.0 + 12.0 * rng.uniform());
    config.rope.factor = 1.0 + 31.0 * rng.uniform();
    config.rope.low_freq_factor = 0.5 + rng.uniform();
    config.rope.high_freq_factor = config.rope.low_freq_factor + 0.5 + 4.0 * rng.uniform();
    config.rope.original_max_positions = 256 << rng.below(8);
    const std::vector<double> actual = inverse_frequencies(config);
    const std::vector<double> expected = exact_frequencies(config);
    ASSERT_EQ(actual.size(), expected.size());
    for (std::size_t i = 0; i < actual.size(); ++i) {
      // Rounding to fp32 moves the blend of llama3, which is a share of the unscaled frequency.
      const double unscaled =
          std::pow(config.rope.theta, -2.0 * static_cast<double>(i) / config.head_dim);
      EXPECT_NEAR(actual[i], expected[i], 2e-5 * unscaled)
          << "channel " << i << ", round " << round;
    }
  }
}

void expect_frequencies(const LlamaConfig& config,
                        std::initializer_list<std::pair<int, double>> expected) {
  const std::vector<double> actual = inverse_frequencies(config);
  for (const auto& [channel, value] : expected) {
    EXPECT_NEAR(actual[static_cast<std::size_t>(channel)] / value, 1.0, 1e-6) << channel;
  }
}

// Printed by transformers 5.23: LlamaRotaryEmbedding(config).inv_freq.
TEST(InverseFrequencies, MatchTransformers) {
  expect_frequencies(parse(llama_config_json()), {{1, 0.8146172165870667},
                                                  {20, 0.016560440883040428},
                                                  {28, 0.0032114461064338684},
                                                  {29, 0.0021665706299245358},
                                                  {31, 0.0008567514596506953},
                                                  {34, 0.0001785077911335975},
                                                  {35, 9.556212171446532e-05},
                                                  {36, 7.784655463183299e-05},
                                                  {63, 3.068925877869333e-07}});
  LlamaConfig linear;
  linear.head_dim = 64;
  linear.rope.type = RopeType::kLinear;
  linear.rope.factor = 4.0;
  expect_frequencies(linear, {{0, 0.25},
                              {1, 0.18747355043888092},
                              {15, 0.0033338037319481373},
                              {31, 3.333803761051968e-05}});
}

}  // namespace
}  // namespace sinkrouter
