#include "model/checkpoint_files.h"

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>

#include "base/dtype.h"
#include "sinkrouter/error.h"

namespace sinkrouter::testing {
namespace {

template <typename T>
void append(std::string& bytes, T value) {
  bytes.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

}  // namespace

std::string random_data(const std::string& dtype, std::int64_t elements, Rng& rng) {
  std::string bytes;
  for (std::int64_t i = 0; i < elements; ++i) {
    const float value = rng.normal();
    if (dtype == "F32") {
      append(bytes, value);
    } else if (dtype == "F16") {
      append(bytes, from_float<Float16>(value).bits);
    } else if (dtype == "BF16") {
      append(bytes, from_float<BFloat16>(value).bits);
    } else {
      append(bytes, static_cast<std::int64_t>(rng.below(1000)));
    }
  }
  return bytes;
}

RawTensor random_tensor(const std::string& name, const std::string& dtype,
                        std::vector<std::int64_t> shape, Rng& rng) {
  std::int64_t elements = 1;
  for (const std::int64_t size : shape) elements *= size;
  return {name, dtype, std::move(shape), random_data(dtype, elements, rng)};
}

std::string safetensors_bytes(std::string_view header, std::string_view data) {
  std::string bytes;
  append(bytes, std::uint64_t{header.size()});
  bytes += header;
  bytes += data;
  return bytes;
}

std::string safetensors_bytes(const std::vector<RawTensor>& tensors, std::size_t extra) {
  nlohmann::json header = nlohmann::json::object();
  std::string data;
  for (const RawTensor& tensor : tensors) {
    const std::size_t begin = data.size();
    data += tensor.data;
    header[tensor.name] = {
        {"dtype", tensor.dtype}, {"shape", tensor.shape}, {"data_offsets", {begin, data.size()}}};
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8 + extra, ' ');
  return safetensors_bytes(text, data);
}

void write_file(const std::filesystem::path& path, std::string_view bytes) {
  std::ofstream file(path, std::ios::binary);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  ASSERT_TRUE(file.flush()) << path;
}

nlohmann::json llama_config_json() {
  return nlohmann::json::parse(R"({
    "architectures": ["LlamaForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
    "bos_token_id": 128000, "eos_token_id": [128001, 128008, 128009], "head_dim": 128,
    "hidden_act": "silu", "hidden_size": 4096, "initializer_range": 0.02,
    "intermediate_size": 14336, "max_position_embeddings": 131072, "mlp_bias": false,
    "model_type": "llama", "num_attention_heads": 32, "num_hidden_layers": 32,
    "num_key_value_heads": 8, "pretraining_tp": 1, "rms_norm_eps": 1e-05,
    "rope_scaling": {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                     "original_max_position_embeddings": 8192, "rope_type": "llama3"},
    "rope_theta": 500000.0, "tie_word_embeddings": false, "torch_dtype": "bfloat16",
    "use_cache": true, "vocab_size": 128256})");
}

nlohmann::json small_llama_config_json() {
  nlohmann::json config = llama_config_json();
  config["bos_token_id"] = 0;
  config["eos_token_id"] = 1;
  config["head_dim"] = 8;
  config["hidden_size"] = 12;
  config["intermediate_size"] = 20;
  config["num_attention_heads"] = 4;
  config["num_hidden_layers"] = 2;
  config["num_key_value_heads"] = 2;
  config["vocab_size"] = 10;
  return config;
}

std::vector<RawTensor> llama_tensors(const LlamaConfig& config, Rng& rng) {
  std::vector<RawTensor> tensors;
  const auto add = [&](const std::string& name, std::vector<std::int64_t> shape) {
    const char* dtypes[] = {"F32", "F16", "BF16"};
    tensors.push_back(random_tensor(name + ".weight", dtypes[rng.below(3)], std::move(shape), rng));
  };
  const std::int64_t hidden = config.hidden_size;
  const std::int64_t intermediate = config.intermediate_size;
  const std::int64_t q_width = config.q_heads * config.head_dim;
  const std::int64_t kv_width = config.kv_heads * config.head_dim;
  add("model.embed_tokens", {config.vocab_size, hidden});
  for (int layer = 0; layer < config.layers; ++layer) {
    const std::string prefix = "model.layers." + std::to_string(layer) + ".";
    add(prefix + "self_attn.q_proj", {q_width, hidden});
    add(prefix + "self_attn.k_proj", {kv_width, hidden});
    add(prefix + "self_attn.v_proj", {kv_width, hidden});
    add(prefix + "self_attn.o_proj", {hidden, q_width});
    add(prefix + "mlp.gate_proj", {intermediate, hidden});
    add(prefix + "mlp.up_proj", {intermediate, hidden});
    add(prefix + "mlp.down_proj", {hidden, intermediate});
    add(prefix + "input_layernorm", {hidden});
    add(prefix + "post_attention_layernorm", {hidden});
  }
  add("model.norm", {hidden});
  if (!config.tied_embeddings) add("lm_head", {config.vocab_size, hidden});
  return tensors;
}

void expect_error(const std::function<void()>& call,
                  std::initializer_list<std::string_view> parts) {
  try {
    call();
    ADD_FAILURE() << "no error; expected one";
  } catch (const Error& error) {
    const std::string_view message = error.what();
    EXPECT_EQ(message.find('\n'), std::string_view::npos) << message;
    for (const std::string_view part : parts) {
      EXPECT_NE(message.find(part), std::string_view::npos)
          << "\"" << part << "\" is not in: " << message;
    }
  }
}

}  // namespace sinkrouter::testing
