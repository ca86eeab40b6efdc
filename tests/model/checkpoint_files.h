#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/rng.h"
#include "model/config.h"

namespace sinkrouter::testing {

// A tensor as it lies in a safetensors file.
struct RawTensor {
  std::string name;
  std::string dtype;
  std::vector<std::int64_t> shape;
  std::string data;
};

// `elements` random values of the dtype F32, F16, BF16 or I64, as bytes.
std::string random_data(const std::string& dtype, std::int64_t elements, Rng& rng);
RawTensor random_tensor(const std::string& name, const std::string& dtype,
                        std::vector<std::int64_t> shape, Rng& rng);

// A length, a header and data, whatever they say.
std::string safetensors_bytes(std::string_view header, std::string_view data);
// A valid file; the header is padded to a multiple of 8 and `extra` bytes beyond.
std::string safetensors_bytes(const std::vector<RawTensor>& tensors, std::size_t extra = 0);

void write_file(const std::filesystem::path& path, std::string_view bytes);

// config.json of a Llama with every field transformers writes.
nlohmann::json llama_config_json();
// A small config and all the tensors it asks for, dtypes drawn per tensor.
nlohmann::json small_llama_config_json();
std::vector<RawTensor> llama_tensors(const LlamaConfig& config, Rng& rng);

// Fails the test unless `call` throws an Error of one line with every part in it.
void expect_error(const std::function<void()>& call, std::initializer_list<std::string_view> parts);

}  // namespace sinkrouter::testing
