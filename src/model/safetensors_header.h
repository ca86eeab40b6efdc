#pragma once

#include <cstdint>
#include <string_view>

#include "model/safetensors.h"

namespace sinkrouter {

// The JSON part of a safetensors file whose data section has `data_bytes` bytes.
SafetensorsEntries parse_safetensors_entries(std::string_view json, std::uint64_t data_bytes,
                                             std::string_view file);

}  // namespace sinkrouter
