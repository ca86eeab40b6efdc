#include "model/config.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/check.h"
#include "base/file.h"
#include "model/json.h"

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

int required_size(const JsonFields& fields, const char* name, int high) {
  return static_cast<int>(fields.required_integer(name, 1, high));
}

int size_or(const JsonFields& fields, const char* name, int high, int fallback) {
  return static_cast<int>(fields.integer(name, 1, high).value_or(fallback));
}

void check_architecture(const JsonFields& fields) {
  if (fields.text("model_type") != "llama") fields.fail("model_type", "'llama'");
  const nlohmann::json* names = fields.find("architectures");
  if (names == nullptr) return;
  const bool known = names->is_array() &&
                     std::find(names->begin(), names->end(), "LlamaForCausalLM") != names->end();
  if (known) return;
  if (names->is_array() && names->size() == 1 && (*names)[0].is_string()) {
    fields.fail("architectures", fmt::format("LlamaForCausalLM (found {})", describe((*names)[0])));
  }
  fields.fail("architectures", "a list with 'LlamaForCausalLM'");
}

void check_unsupported(const JsonFields& fields) {
  for (const char* name : {"attention_bias", "mlp_bias"}) {
    if (fields.boolean(name).value_or(false)) {
      fields.fail(name, "false: projections with biases are not supported");
    }
  }
  if (fields.text("hidden_act").value_or("silu") != "silu") fields.fail("hidden_act", "'silu'");
  if (fields.find("quantization_config") != nullptr) {
    fields.fail("quantization_config", "none: weights must be f32, f16 or bf16");
  }
}

void read_sizes(const JsonFields& fields, LlamaConfig& config) {
  config.vocab_size = required_size(fields, "vocab_size", kMaxVocab);
  config.hidden_size = required_size(fields, "hidden_size", kMaxHidden);
  config.intermediate_size = required_size(fields, "intermediate_size", kMaxIntermediate);
  config.layers = required_size(fields, "num_hidden_layers", kMaxLayers);
  config.q_heads = required_size(fields, "num_attention_heads", kMaxHeads);
  config.kv_heads = size_or(fields, "num_key_value_heads", kMaxHeads, config.q_heads);
  config.max_positions = size_or(fields, "max_position_embeddings", kMaxPositions, 2048);
  if (config.q_heads % config.kv_heads != 0) {
    fields.fail("num_key_value_heads",
                fmt::format("a divisor of num_attention_heads {}", config.q_heads));
  }
  if (fields.find("head_dim") != nullptr) {
    config.head_dim = required_size(fields, "head_dim", kMaxHeadDim);
    if (config.head_dim % 2 != 0) fields.fail("head_dim", "an even number, for RoPE");
    return;
  }
  config.head_dim = config.hidden_size / config.q_heads;
  if (config.hidden_size % config.q_heads != 0 || config.head_dim % 2 != 0 ||
      config.head_dim > kMaxHeadDim) {
    fields.fail("hidden_size",
                fmt::format("num_attention_heads {} times an even head size of at most {}",
                            config.q_heads, kMaxHeadDim));
  }
}

// transformers 4 writes rope_scaling and a rope_theta beside it; 5 writes both in rope_parameters.
JsonFields rope_fields(const JsonFields& fields) {
  for (const char* name : {"rope_scaling", "rope_parameters"}) {
    const auto found = fields.object(name);
    if (found && !fields.find(name)->empty()) return *found;
  }
  return fields;
}

RopeType rope_type(const JsonFields& rope) {
  const char* field = rope.find("rope_type") != nullptr ? "rope_type" : "type";
  const std::string name = rope.text(field).value_or("default");
  if (name == "default") return RopeType::kDefault;
  if (name == "linear") return RopeType::kLinear;
  if (name == "llama3") return RopeType::kLlama3;
  rope.fail(field, "'default', 'linear' or 'llama3'");
}

RopeConfig read_rope(const JsonFields& fields, int max_positions) {
  constexpr double kMaxTheta = 1e30;
  constexpr double kMaxFactor = 1e6;
  const JsonFields rope = rope_fields(fields);
  RopeConfig result;
  result.type = rope_type(rope);
  result.theta = rope.find("rope_theta") != nullptr
                     ? rope.required_number("rope_theta", 1.0, kMaxTheta)
                     : fields.number("rope_theta", 1.0, kMaxTheta).value_or(result.theta);
  for (const JsonFields& holder : {rope, fields}) {
    if (holder.number("partial_rotary_factor", 0.0, 1.0).value_or(1.0) != 1.0) {
      holder.fail("partial_rotary_factor", "1: RoPE must turn whole heads");
    }
  }
  if (result.type == RopeType::kDefault) return result;
  result.factor = rope.required_number("factor", 1.0, kMaxFactor);
  if (result.type == RopeType::kLinear) return result;
  result.low_freq_factor = rope.required_number("low_freq_factor", 1e-6, kMaxFactor);
  result.high_freq_factor = rope.required_number("high_freq_factor", 1e-6, kMaxFactor);
  if (result.high_freq_factor <= result.low_freq_factor) {
    rope.fail("high_freq_factor",
              fmt::format("more than low_freq_factor {}", result.low_freq_factor));
  }
  const char* original = "original_max_position_embeddings";
  const JsonFields& holder = fields.find(original) != nullptr ? fields : rope;
  result.original_max_positions = size_or(holder, original, kMaxPositions, max_positions);
  return result;
}

std::vector<int> read_eos_ids(const JsonFields& fields, int vocab_size) {
  constexpr int kDefaultEos = 2;
  if (fields.is_null("eos_token_id")) return {};
  const nlohmann::json* value = fields.find("eos_token_id");
  if (value == nullptr) {
    return kDefaultEos < vocab_size ? std::vector<int>{kDefaultEos} : std::vector<int>{};
  }
  if (!value->is_array()) {
    return {static_cast<int>(fields.required_integer("eos_token_id", 0, vocab_size - 1))};
  }
  std::vector<int> ids;
  for (const nlohmann::json& id : *value) {
    const bool valid =
        id.is_number_unsigned() && id.get<std::uint64_t>() < static_cast<std::uint64_t>(vocab_size);
    if (!valid) {
      fields.fail("eos_token_id", fmt::format("integers from 0 to {} in it (found {})",
                                              vocab_size - 1, describe(id)));
    }
    ids.push_back(id.get<int>());
  }
  return ids;
}

void read_special_ids(const JsonFields& fields, LlamaConfig& config) {
  constexpr int kDefaultBos = 1;
  if (const auto bos = fields.integer("bos_token_id", 0, config.vocab_size - 1)) {
    config.bos_id = static_cast<int>(*bos);
  } else if (!fields.is_null("bos_token_id") && kDefaultBos < config.vocab_size) {
    config.bos_id = kDefaultBos;
  }
  config.eos_ids = read_eos_ids(fields, config.vocab_size);
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
  const nlohmann::json root = parse_json(json, file);
  SR_CHECK(root.is_object(), kInvalidFile, "{}: is {}, expected a JSON object", file,
           describe(root));
  const JsonFields fields(root, file);
  check_architecture(fields);
  check_unsupported(fields);
  LlamaConfig config;
  read_sizes(fields, config);
  config.rms_norm_epsilon =
      static_cast<float>(fields.number("rms_norm_eps", 1e-20, 1.0).value_or(1e-6));
  config.tied_embeddings = fields.boolean("tie_word_embeddings").value_or(false);
  config.rope = read_rope(fields, config.max_positions);
  read_special_ids(fields, config);
  return config;
}

LlamaConfig load_llama_config(const std::filesystem::path& directory) {
  std::error_code error;
  SR_CHECK(std::filesystem::is_directory(directory, error), kInvalidFile,
           "{} is not a directory, expected a Hugging Face checkpoint", directory.string());
  const std::filesystem::path path = directory / "config.json";
  SR_CHECK(std::filesystem::exists(path, error), kInvalidFile,
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
