#include "support/tiny_model.h"

#include <stdlib.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/rng.h"

namespace sinkrouter::testing {
namespace {

constexpr int kVocabSize = 4096;

class SafetensorsWriter {
 public:
  explicit SafetensorsWriter(std::uint64_t seed) : rng_(seed) {}

  void matrix(const std::string& name, int outputs, int inputs, float deviation) {
    const std::size_t begin = data_.size();
    for (std::int64_t i = 0; i < std::int64_t{outputs} * inputs; ++i) {
      data_.push_back(deviation * rng_.normal());
    }
    describe(name, {outputs, inputs}, begin);
  }

  void ones(const std::string& name, int width) {
    const std::size_t begin = data_.size();
    data_.insert(data_.end(), static_cast<std::size_t>(width), 1.0f);
    describe(name, {width}, begin);
  }

  void write(const std::filesystem::path& path) const {
    std::string header = header_.dump();
    while (header.size() % 8 != 0) header += ' ';
    const std::uint64_t length = header.size();
    std::ofstream file(path, std::ios::binary);
    file.write(reinterpret_cast<const char*>(&length), sizeof(length));
    file << header;
    file.write(reinterpret_cast<const char*>(data_.data()),
               static_cast<std::streamsize>(data_.size() * sizeof(float)));
    if (!file.flush()) throw std::runtime_error("cannot write " + path.string());
  }

 private:
  void describe(const std::string& name, const std::vector<int>& shape, std::size_t begin) {
    header_[name] = {{"dtype", "F32"},
                     {"shape", shape},
                     {"data_offsets", {begin * sizeof(float), data_.size() * sizeof(float)}}};
  }

  Rng rng_;
  nlohmann::json header_ = nlohmann::json::object();
  std::vector<float> data_;
};

void write_config(const std::filesystem::path& path, const TinyModelShape& shape) {
  const nlohmann::json config = {{"architectures", {"LlamaForCausalLM"}},
                                 {"model_type", "llama"},
                                 {"vocab_size", kVocabSize},
                                 {"hidden_size", shape.hidden_size},
                                 {"intermediate_size", shape.intermediate_size},
                                 {"num_hidden_layers", shape.layers},
                                 {"num_attention_heads", shape.q_heads},
                                 {"num_key_value_heads", shape.kv_heads},
                                 {"head_dim", shape.head_dim},
                                 {"max_position_embeddings", shape.max_positions},
                                 {"rms_norm_eps", 1e-5},
                                 {"rope_theta", 10000.0},
                                 {"hidden_act", "silu"},
                                 {"tie_word_embeddings", true}};
  std::ofstream(path) << config.dump(2);
}

void write_weights(const std::filesystem::path& path, const TinyModelShape& shape,
                   std::uint64_t seed) {
  constexpr float kDeviation = 0.15f;
  SafetensorsWriter writer(seed);
  const int q_width = shape.q_heads * shape.head_dim;
  const int kv_width = shape.kv_heads * shape.head_dim;
  writer.matrix("model.embed_tokens.weight", kVocabSize, shape.hidden_size, 1.0f);
  writer.ones("model.norm.weight", shape.hidden_size);
  for (int layer = 0; layer < shape.layers; ++layer) {
    const std::string prefix = "model.layers." + std::to_string(layer) + ".";
    const auto matrix = [&](const char* part, int outputs, int inputs) {
      writer.matrix(prefix + part + ".weight", outputs, inputs, kDeviation);
    };
    matrix("self_attn.q_proj", q_width, shape.hidden_size);
    matrix("self_attn.k_proj", kv_width, shape.hidden_size);
    matrix("self_attn.v_proj", kv_width, shape.hidden_size);
    matrix("self_attn.o_proj", shape.hidden_size, q_width);
    matrix("mlp.gate_proj", shape.intermediate_size, shape.hidden_size);
    matrix("mlp.up_proj", shape.intermediate_size, shape.hidden_size);
    matrix("mlp.down_proj", shape.hidden_size, shape.intermediate_size);
    writer.ones(prefix + "input_layernorm.weight", shape.hidden_size);
    writer.ones(prefix + "post_attention_layernorm.weight", shape.hidden_size);
  }
  writer.write(path);
}

}  // namespace

TemporaryDirectory::TemporaryDirectory() {
  std::string pattern = (std::filesystem::temp_directory_path() / "sinkrouter-XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("cannot make " + pattern);
  path_ = pattern;
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

void write_tiny_model(const std::filesystem::path& directory, const TinyModelShape& shape,
                      std::uint64_t seed) {
  write_config(directory / "config.json", shape);
  write_weights(directory / "model.safetensors", shape, seed);
  const std::filesystem::path embedded =
      std::filesystem::path(SINKROUTER_SOURCE_DIR) / "models" / "sinkling-15m";
  for (const char* file : {"tokenizer.json", "tokenizer_config.json"}) {
    std::filesystem::copy_file(embedded / file, directory / file);
  }
}

}  // namespace sinkrouter::testing
