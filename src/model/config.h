#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string_view>
#include <vector>

namespace sinkrouter {

enum class RopeType { kDefault, kLinear, kLlama3 };

struct RopeConfig {
  RopeType type = RopeType::kDefault;
  double theta = 10000.0;
  double factor = 1.0;  // linear and llama3
  // llama3: wavelengths above original_max_positions / low_freq_factor are stretched by `factor`,
  // those below original_max_positions / high_freq_factor are left alone.
  double low_freq_factor = 1.0;
  double high_freq_factor = 4.0;
  int original_max_positions = 0;
};

// A Llama decoder. Every field is checked; q_heads * head_dim fits in an int, any product of two
// other sizes in an int64.
struct LlamaConfig {
  int vocab_size = 0;
  int hidden_size = 0;
  int intermediate_size = 0;
  int layers = 0;
  int q_heads = 0;
  int kv_heads = 0;  // divides q_heads
  int head_dim = 0;  // even; q_heads * head_dim may differ from hidden_size
  float rms_norm_epsilon = 1e-6f;
  bool tied_embeddings = false;
  int max_positions = 2048;
  RopeConfig rope;
  std::optional<int> bos_id;
  std::vector<int> eos_ids;
};

// Reads config.json as transformers 4 or 5 writes it; fields left out get transformers' defaults.
// Throws Error naming `file`, the field, its value and what was expected.
LlamaConfig parse_llama_config(std::string_view json, std::string_view file);

// parse_llama_config of directory / "config.json".
LlamaConfig load_llama_config(const std::filesystem::path& directory);

// RoPE rotates channels i and i + head_dim / 2 by position * result[i]; [head_dim / 2]. Rounded
// to fp32 wherever transformers rounds, since models were trained with those values.
std::vector<double> inverse_frequencies(const LlamaConfig& config);

}  // namespace sinkrouter
