#include "model/checkpoint.h"

#include <gtest/gtest.h>

#include <random>

#include "model/checkpoint_files.h"
#include "model/weights.h"
#include "sinkrouter/error.h"
#include "support/tiny_model.h"

namespace sinkrouter {
namespace {

using nlohmann::json;
using testing::expect_error;
using testing::random_tensor;
using testing::RawTensor;
using testing::safetensors_bytes;

constexpr const char* kIndex = "model.safetensors.index.json";
constexpr const char* kFirst = "model-00001-of-00002.safetensors";
constexpr const char* kSecond = "model-00002-of-00002.safetensors";

class CheckpointTest : public ::testing::Test {
 protected:
  void write(const std::string& name, std::string_view bytes) {
    testing::write_file(directory_.path() / name, bytes);
  }
  void write_shards(const std::vector<RawTensor>& first, const std::vector<RawTensor>& second) {
    write(kFirst, safetensors_bytes(first));
    write(kSecond, safetensors_bytes(second));
  }
  void write_index(const json& weight_map) {
    write(kIndex, json{{"metadata", {{"total_size", 1}}}, {"weight_map", weight_map}}.dump());
  }
  void expect_refused(std::initializer_list<std::string_view> parts) {
    expect_error([&] { Checkpoint checkpoint(directory_.path()); }, parts);
  }

  testing::TemporaryDirectory directory_;
  const std::uint64_t seed_ = std::random_device{}();
  ::testing::ScopedTrace trace_{__FILE__, __LINE__, seed_};
  Rng rng_{seed_};
  const RawTensor a_ = random_tensor("a", "F32", {2, 3}, rng_);
  const RawTensor b_ = random_tensor("b", "BF16", {5}, rng_);
};

void expect_same(const TensorView& view, const RawTensor& tensor) {
  const std::string_view bytes(static_cast<const char*>(view.data),
                               static_cast<std::size_t>(view.bytes()));
  EXPECT_TRUE(bytes == tensor.data) << tensor.name;
}

TEST_F(CheckpointTest, RefusesToReadFromAFileThatWasCut) {
  Rng rng(1);
  write_shards({random_tensor("a", "F32", {4}, rng)}, {random_tensor("b", "F32", {4}, rng)});
  Checkpoint checkpoint(directory_.path());
  EXPECT_NO_THROW(checkpoint.require_whole());
  std::filesystem::resize_file(directory_.path() / kSecond, 9);
  EXPECT_NO_THROW(checkpoint.tensor("a", {4}));
  expect_error([&] { checkpoint.tensor("b", {4}); }, {kSecond, "was cut to 9 bytes"});
  expect_error([&] { checkpoint.require_whole(); }, {kSecond, "was cut to 9 bytes"});
}

TEST_F(CheckpointTest, ReadsOneFile) {
  write("model.safetensors", safetensors_bytes({a_, b_}));
  Checkpoint checkpoint(directory_.path());
  expect_same(checkpoint.tensor("a", {2, 3}), a_);
  expect_same(checkpoint.tensor("b", {5}), b_);
  EXPECT_EQ(checkpoint.names(), (std::vector<std::string>{"a", "b"}));
}

TEST_F(CheckpointTest, ReadsShardsWithAndWithoutIndex) {
  write_shards({a_}, {b_});
  for (int round = 0; round < 2; ++round) {
    Checkpoint checkpoint(directory_.path());
    expect_same(checkpoint.tensor("a", {2, 3}), a_);
    expect_same(checkpoint.tensor("b", {5}), b_);
    write_index({{"a", kFirst}, {"b", kSecond}});
  }
}

TEST_F(CheckpointTest, FollowsLinksToFilesElsewhere) {
  testing::TemporaryDirectory blobs;
  testing::write_file(blobs.path() / "0123abcd", safetensors_bytes({a_}));
  std::filesystem::create_symlink(blobs.path() / "0123abcd",
                                  directory_.path() / "model.safetensors");
  Checkpoint checkpoint(directory_.path());
  expect_same(checkpoint.tensor("a", {2, 3}), a_);
}

TEST_F(CheckpointTest, RefusesDirectoriesWithoutWeights) {
  expect_error([&] { Checkpoint checkpoint(directory_.path() / "missing"); },
               {"cannot list", "missing"});
  expect_refused({directory_.path().string(), "no *.safetensors file"});
  write("training_args.bin", "");
  expect_refused({"no *.safetensors file"});
  write("pytorch_model.bin", "");
  expect_refused({"'pytorch_model.bin' is a format that is not supported"});
}

TEST_F(CheckpointTest, RefusesWrongNamesAndShapes) {
  write("model.safetensors", safetensors_bytes({a_, b_}));
  Checkpoint checkpoint(directory_.path());
  expect_error(
      [&] {
        checkpoint.tensor("c", {7, 1});
      },
      {directory_.path().string(), "no tensor 'c'", "shape [7, 1]"});
  expect_error(
      [&] {
        checkpoint.tensor("a", {3, 2});
      },
      {"model.safetensors", "'a' has shape [2, 3], expected [3, 2]"});
  expect_error([&] { checkpoint.tensor("a", {2, 3, 1}); }, {"expected [2, 3, 1]"});
  expect_error([&] { checkpoint.tensor("a", {2}); }, {"expected [2] by config.json"});
}

TEST_F(CheckpointTest, RefusesTensorsInTwoShards) {
  write_shards({a_, b_}, {b_});
  expect_refused({kSecond, "tensor 'b' is also in", kFirst});
  write_index({{"a", kFirst}, {"b", kSecond}});
  expect_refused({kSecond, "tensor 'b' is also in", kFirst});
}

TEST_F(CheckpointTest, RefusesIndexThatShardsContradict) {
  write_shards({a_}, {b_});
  write_index({{"a", kFirst}, {"b", kSecond}, {"c", kSecond}});
  expect_refused({kIndex, kSecond, "'c', which is not in that file"});
  write_index({{"a", kSecond}, {"b", kFirst}});
  expect_refused({kIndex, "which is not in that file"});
  write_index({{"a", "model-00003-of-00002.safetensors"}});
  expect_refused({"cannot open", "model-00003-of-00002.safetensors"});
}

TEST_F(CheckpointTest, RefusesFilesOutsideTheDirectory) {
  write_shards({a_}, {b_});
  for (const char* name :
       {"../model.safetensors", "/etc/model.safetensors", "sub/model.safetensors", "..", ".", "",
        ".safetensors", "a\\b.safetensors", "model.bin", "/dev/zero"}) {
    write_index({{"a", name}});
    expect_refused(
        {kIndex, "weight_map.a: found", "expected a *.safetensors file in the same directory"});
  }
  write_index({{"a", std::string("x\0.safetensors", 14)}});
  expect_refused({"x\\x00.safetensors"});
}

TEST_F(CheckpointTest, RefusesMalformedIndex) {
  write_shards({a_}, {b_});
  write(kIndex, "{");
  expect_refused({kIndex, "not valid JSON"});
  write(kIndex, "[]");
  expect_refused({kIndex, "found an array, expected an object"});
  write(kIndex, "{}");
  expect_refused({kIndex, "'weight_map' is missing"});
  write(kIndex, R"({"weight_map": []})");
  expect_refused({kIndex, "weight_map: found an array"});
  write(kIndex, R"({"weight_map": {}})");
  expect_refused({kIndex, "weight_map: found an object"});
  write(kIndex, R"({"weight_map": {"a": 5}})");
  expect_refused({kIndex, "weight_map.a: found 5"});
  write(kIndex, R"({"weight_map": {"a": "x.safetensors", "a": "y.safetensors"}})");
  expect_refused({kIndex, "key 'a' is given twice"});
}

class WeightsTest : public CheckpointTest {
 protected:
  void use_config(const json& config_json) {
    config_ = parse_llama_config(config_json.dump(), "config.json");
    tensors_ = testing::llama_tensors(config_, rng_);
  }
  RawTensor& find(std::string_view name) {
    for (RawTensor& tensor : tensors_) {
      if (tensor.name == name) return tensor;
    }
    throw std::logic_error("no such tensor");
  }
  void erase(std::string_view name) {
    std::erase_if(tensors_, [&](const RawTensor& tensor) { return tensor.name == name; });
  }
  LlamaWeights load() {
    write("model.safetensors", safetensors_bytes(tensors_));
    return load_llama_weights(directory_.path(), config_);
  }

  json json_ = testing::small_llama_config_json();
  LlamaConfig config_;
  std::vector<RawTensor> tensors_;
};

TEST_F(WeightsTest, MapsEveryTensor) {
  use_config(json_);
  const LlamaWeights weights = load();
  expect_same(weights.embedding, find("model.embed_tokens.weight"));
  expect_same(weights.final_norm, find("model.norm.weight"));
  expect_same(weights.lm_head, find("lm_head.weight"));
  ASSERT_EQ(weights.layers.size(), 2u);
  for (int layer = 0; layer < 2; ++layer) {
    const LlamaLayerWeights& w = weights.layers[static_cast<std::size_t>(layer)];
    const auto raw = [&](const char* part) -> const RawTensor& {
      return find(fmt::format("model.layers.{}.{}.weight", layer, part));
    };
    expect_same(w.q, raw("self_attn.q_proj"));
    expect_same(w.k, raw("self_attn.k_proj"));
    expect_same(w.v, raw("self_attn.v_proj"));
    expect_same(w.o, raw("self_attn.o_proj"));
    expect_same(w.gate, raw("mlp.gate_proj"));
    expect_same(w.up, raw("mlp.up_proj"));
    expect_same(w.down, raw("mlp.down_proj"));
    expect_same(w.input_norm, raw("input_layernorm"));
    expect_same(w.post_norm, raw("post_attention_layernorm"));
  }
  EXPECT_TRUE(weights.unused.empty());
}

TEST_F(WeightsTest, TiedHeadIsTheEmbedding) {
  json_["tie_word_embeddings"] = true;
  use_config(json_);
  const LlamaWeights weights = load();
  EXPECT_EQ(weights.lm_head.data, weights.embedding.data);

  RawTensor head = find("model.embed_tokens.weight");
  head.name = "lm_head.weight";
  tensors_.push_back(head);
  EXPECT_NO_THROW(load());

  tensors_.back().data[0] = static_cast<char>(tensors_.back().data[0] ^ 1);
  expect_error([&] { load(); }, {"tie_word_embeddings is true but lm_head.weight differs"});

  erase("model.embed_tokens.weight");
  expect_same(load().embedding, head = tensors_.back());
}

TEST_F(WeightsTest, ListsTensorsWithoutAPlace) {
  use_config(json_);
  tensors_.push_back(
      random_tensor("model.layers.0.self_attn.rotary_emb.inv_freq", "F32", {4}, rng_));
  tensors_.push_back(random_tensor("model.layers.7.extra.weight", "I64", {4}, rng_));
  EXPECT_EQ(load().unused, std::vector<std::string>{"model.layers.7.extra.weight"});
}

TEST_F(WeightsTest, OutliveTheirCopies) {
  use_config(json_);
  LlamaWeights kept;
  {
    LlamaWeights weights = load();
    kept = weights;
  }
  std::filesystem::remove(directory_.path() / "model.safetensors");
  expect_same(kept.layers[1].down, find("model.layers.1.mlp.down_proj.weight"));
}

TEST_F(WeightsTest, RefusesEveryMissingTensor) {
  use_config(json_);
  const std::vector<RawTensor> all = tensors_;
  for (const RawTensor& tensor : all) {
    tensors_ = all;
    erase(tensor.name);
    expect_error([&] { load(); }, {directory_.path().string(), "no tensor '" + tensor.name + "'"});
  }
}

TEST_F(WeightsTest, RefusesEveryWrongShape) {
  use_config(json_);
  const std::vector<RawTensor> all = tensors_;
  for (const RawTensor& tensor : all) {
    tensors_ = all;
    std::vector<std::int64_t> shape = tensor.shape;
    shape.back() += 1;
    find(tensor.name) = random_tensor(tensor.name, tensor.dtype, shape, rng_);
    expect_error([&] { load(); }, {"model.safetensors", "'" + tensor.name + "' has shape"});
  }
}

TEST_F(WeightsTest, RefusesOtherDTypes) {
  use_config(json_);
  find("model.norm.weight") = random_tensor("model.norm.weight", "I64", {12}, rng_);
  expect_error([&] { load(); }, {"'model.norm.weight' has dtype I64"});
}

}  // namespace
}  // namespace sinkrouter
