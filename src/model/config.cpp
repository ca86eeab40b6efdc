#include "model/config.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/check.h"
#include "base/file.h"
#include "base/quotes.h"
#include "json/json_field.h"

namespace sinkrouter {
namespace {

constexpr std::size_t kMaxConfigBytes = std::size_t{4} << 20;

// Far beyond any model of this family, and small enough that no product of sizes overflows.
constexpr int kMaxVocab = 1 << 24;
constexpr int kMaxHidden = 1 << 20;
constexpr int kMaxIntermediate = 1 << 22;
constexpr int kMaxLayers = 4096;
constexpr int kMaxHeads = 4096;
constexpr int kMaxHeadDim = 1024;
constexpr int kMaxPositions = 1 << 30;

int required_size(const JsonField& root, const char* name, int high) {
  return static_cast<int>(root.at(name).integer(1, high));
}

int size_or(const JsonField& root, const char* name, int high, int otherwise) {
  return static_cast<int>(root.integer_or(name, 1, high, otherwise));
}

void require(const JsonField& field, std::string_view value) {
  if (field.string() != value) field.refuse(in_quotes(value));
}

void check_architecture(const JsonField& root) {
  constexpr std::string_view kArchitecture = "LlamaForCausalLM";
  require(root.at("model_type"), "llama");
  const auto names = root.find("architectures");
  if (!names) return;
  const std::vector<JsonField> items =
      names->is_array() ? names->items() : std::vector<JsonField>();
  const bool known = std::any_of(items.begin(), items.end(), [&](const JsonField& item) {
    return item.is_string() && item.string() == kArchitecture;
  });
  if (known) return;
  if (items.size() == 1) require(items[0], kArchitecture);
  names->refuse(fmt::format("an array with '{}'", kArchitecture));
}

void check_unsupported(const JsonField& root) {
  for (const char* name : {"attention_bias", "mlp_bias"}) {
    if (root.boolean_or(name, false)) {
      root.at(name).refuse("false: projections with biases are not supported");
    }
  }
  if (const auto act = root.find("hidden_act")) require(*act, "silu");
  if (const auto quantization = root.find("quantization_config")) {
    quantization->refuse("none: weights must be f32, f16 or bf16");
  }
}

void read_sizes(const JsonField& root, LlamaConfig& config) {
  config.vocab_size = required_size(root, "vocab_size", kMaxVocab);
  config.hidden_size = required_size(root, "hidden_size", kMaxHidden);
  config.intermediate_size = required_size(root, "intermediate_size", kMaxIntermediate);
  config.layers = required_size(root, "num_hidden_layers", kMaxLayers);
  config.q_heads = required_size(root, "num_attention_heads", kMaxHeads);
  config.kv_heads = size_or(root, "num_key_value_heads", kMaxHeads, config.q_heads);
  config.max_positions = size_or(root, "max_position_embeddings", kMaxPositions, 2048);
  if (config.q_heads % config.kv_heads != 0) {
    root.at("num_key_value_heads")
        .refuse(fmt::format("a divisor of num_attention_heads {}", config.q_heads));
  }
  if (root.find("head_dim")) {
    config.head_dim = required_size(root, "head_dim", kMaxHeadDim);
    if (config.head_dim % 2 != 0) root.at("head_dim").refuse("an even number, for RoPE");
    return;
  }
  config.head_dim = config.hidden_size / config.q_heads;
  if (config.hidden_size % config.q_heads != 0 || config.head_dim % 2 != 0 ||
      config.head_dim > kMaxHeadDim) {
    root.at("hidden_size")
        .refuse(fmt::format("num_attention_heads {} times an even head size of at most {}",
                            config.q_heads, kMaxHeadDim));
  }
}

// transformers 4 writes rope_scaling and a rope_theta beside it; 5 writes both in rope_parameters.
JsonField rope_field(const JsonField& root) {
  for (const char* name : {"rope_scaling", "rope_parameters"}) {
    const auto found = root.find(name);
    if (found && !found->object().empty()) return *found;
  }
  return root;
}

RopeType rope_type(const JsonField& rope) {
  const char* field = rope.find("rope_type") ? "rope_type" : "type";
  const std::string name = rope.string_or(field, "default");
  if (name == "default") return RopeType::kDefault;
  if (name == "linear") return RopeType::kLinear;
  if (name == "llama3") return RopeType::kLlama3;
  rope.at(field).refuse("'default', 'linear' or 'llama3'");
}

RopeConfig read_rope(const JsonField& root, int max_positions) {
  constexpr double kMaxTheta = 1e30;
  constexpr double kMaxFactor = 1e6;
  const JsonField rope = rope_field(root);
  RopeConfig result;
  result.type = rope_type(rope);
  result.theta =
      (rope.find("rope_theta") ? rope : root).number_or("rope_theta", 1.0, kMaxTheta, result.theta);
  for (const JsonField& holder : {rope, root}) {
    if (holder.number_or("partial_rotary_factor", 0.0, 1.0, 1.0) != 1.0) {
      holder.at("partial_rotary_factor").refuse("1: RoPE must turn whole heads");
    }
  }
  if (result.type == RopeType::kDefault) return result;
  result.factor = rope.at("factor").number(1.0, kMaxFactor);
  if (result.type == RopeType::kLinear) return result;
  result.low_freq_factor = rope.at("low_freq_factor").number(1e-6, kMaxFactor);
  result.high_freq_factor = rope.at("high_freq_factor").number(1e-6, kMaxFactor);
  if (result.high_freq_factor <= result.low_freq_factor) {
    rope.at("high_freq_factor")
        .refuse(fmt::format("more than low_freq_factor {}", result.low_freq_factor));
  }
  const char* original = "original_max_position_embeddings";
  const JsonField& holder = root.find(original) ? root : rope;
  result.original_max_positions = size_or(holder, original, kMaxPositions, max_positions);
  return result;
}

std::vector<int> read_eos_ids(const JsonField& root, int vocab_size) {
  constexpr int kDefaultEos = 2;
  if (root.has_null("eos_token_id")) return {};
  const auto field = root.find("eos_token_id");
  std::vector<int> ids;
  if (!field) {
    if (kDefaultEos < vocab_size) ids.push_back(kDefaultEos);
    return ids;
  }
  for (const JsonField& id : field->is_array() ? field->items() : std::vector{*field}) {
    ids.push_back(static_cast<int>(id.integer(0, vocab_size - 1)));
  }
  return ids;
}

void read_special_ids(const JsonField& root, LlamaConfig& config) {
  constexpr int kDefaultBos = 1;
  if (const auto bos = root.find("bos_token_id")) {
    config.bos_id = static_cast<int>(bos->integer(0, config.vocab_size - 1));
  } else if (!root.has_null("bos_token_id") && kDefaultBos < config.vocab_size) {
    config.bos_id = kDefaultBos;
  }
  config.eos_ids = read_eos_ids(root, config.vocab_size);
}

std::vector<float> llama3_frequencies(const RopeConfig& rope, std::vector<float> frequencies) {
  const auto original = static_cast<float>(rope.original_max_positions);
  const auto factor = static_cast<float>(rope.factor);
  const auto low_factor = static_cast<float>(rope.low_freq_factor);
  const auto span = static_cast<float>(rope.high_freq_factor - rope.low_freq_factor);
  const auto low_wavelength =
      static_cast<float>(rope.original_max_positions / rope.low_freq_factor);
  const auto high_wavelength =
      static_cast<float>(rope.original_max_positions / rope.high_freq_factor);
  for (float& frequency : frequencies) {
    const float wavelength = static_cast<float>(2.0 * std::numbers::pi) / frequency;
    if (wavelength > low_wavelength) {
      frequency /= factor;
    } else if (!(wavelength < high_wavelength)) {
      const float smooth = (original / wavelength - low_factor) / span;
      frequency = (1.0f - smooth) * frequency / factor + smooth * frequency;
    }
  }
  return frequencies;
}

}  // namespace

LlamaConfig parse_llama_config(std::string_view json, std::string_view file) {
  const JsonField root = JsonField::parse(json, std::string(file));
  check_architecture(root);
  check_unsupported(root);
  LlamaConfig config;
  read_sizes(root, config);
  config.rms_norm_epsilon = static_cast<float>(root.number_or("rms_norm_eps", 1e-20, 1.0, 1e-6));
  config.tied_embeddings = root.boolean_or("tie_word_embeddings", false);
  config.rope = read_rope(root, config.max_positions);
  read_special_ids(root, config);
  return config;
}

LlamaConfig load_llama_config(const std::filesystem::path& directory) {
  std::error_code error;
  SR_CHECK(std::filesystem::is_directory(directory, error), kInvalidFile,
           "{} is not a directory, expected a Hugging Face checkpoint", directory.string());
  const std::filesystem::path path = directory / "config.json";
  SR_CHECK(file_exists(path), kInvalidFile,
           "{} has no config.json, expected a Hugging Face checkpoint", directory.string());
  return parse_llama_config(read_text_file(path, kMaxConfigBytes), path.string());
}

std::vector<double> inverse_frequencies(const LlamaConfig& config) {
  const auto dim = static_cast<float>(config.head_dim);
  std::vector<float> frequencies;
  for (int channel = 0; channel < config.head_dim; channel += 2) {
    const float exponent = static_cast<float>(channel) / dim;
    const auto theta = static_cast<float>(config.rope.theta);
    frequencies.push_back(1.0f / static_cast<float>(std::pow(double{theta}, double{exponent})));
  }
  if (config.rope.type == RopeType::kLinear) {
    for (float& frequency : frequencies) frequency /= static_cast<float>(config.rope.factor);
  }
  if (config.rope.type == RopeType::kLlama3) {
    frequencies = llama3_frequencies(config.rope, std::move(frequencies));
  }
  return {frequencies.begin(), frequencies.end()};
}

}  // namespace sinkrouter
