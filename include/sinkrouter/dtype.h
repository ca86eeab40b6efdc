#pragma once

#include <cstddef>
#include <string_view>

namespace sinkrouter {

enum class DType { kF32, kF16, kBF16, kF8E4M3 };

std::size_t size_in_bytes(DType dtype);
std::string_view name(DType dtype);        // "f32", "f16", "bf16", "f8e4m3"
DType parse_dtype(std::string_view text);  // throws Error on an unknown name

}  // namespace sinkrouter
