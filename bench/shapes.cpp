#include <fmt/ranges.h>

#include <algorithm>
#include <vector>

#include "base/check.h"
#include "sinkrouter/bench.h"

namespace sinkrouter {

std::span<const AttentionShape> known_attention_shapes() {
  static const std::vector<AttentionShape> shapes{
      {.name = "embedded", .layers = 8, .q_heads = 8, .kv_heads = 2, .head_dim = 64},
      {.name = "llama-3.1-8b", .layers = 32, .q_heads = 32, .kv_heads = 8, .head_dim = 128},
      {.name = "llama-3.1-70b", .layers = 80, .q_heads = 64, .kv_heads = 8, .head_dim = 128},
      {.name = "yi-9b", .layers = 48, .q_heads = 32, .kv_heads = 4, .head_dim = 128},
      {.name = "vicuna-7b", .layers = 32, .q_heads = 32, .kv_heads = 32, .head_dim = 128},
      {.name = "vicuna-13b", .layers = 40, .q_heads = 40, .kv_heads = 40, .head_dim = 128},
  };
  return shapes;
}

const AttentionShape& attention_shape(std::string_view name) {
  const std::span<const AttentionShape> shapes = known_attention_shapes();
  const auto found = std::find_if(shapes.begin(), shapes.end(),
                                  [&](const AttentionShape& shape) { return shape.name == name; });
  if (found == shapes.end()) {
    std::vector<std::string> names;
    for (const AttentionShape& shape : shapes) names.push_back(shape.name);
    throw Error(Error::Kind::kInvalidArgument,
                fmt::format("unknown shape '{}'; there are: {}", name, fmt::join(names, ", ")));
  }
  return *found;
}

}  // namespace sinkrouter
