#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace sinkrouter {

inline constexpr int kMaxPinnedBlocks = 4;

// Blocks that every list of one sequence, layer and KV head holds beside the first and the last
// ones: where its queries were found to look whatever they ask.
struct PinnedBlocks {
  int count = 0;
  std::array<std::int32_t, kMaxPinnedBlocks> blocks{};  // ascending
  std::array<float, kMaxPinnedBlocks> masses{};         // mean attention mass when found

  std::span<const std::int32_t> list() const {
    return {blocks.data(), static_cast<std::size_t>(count)};
  }
};

}  // namespace sinkrouter
