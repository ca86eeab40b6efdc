#pragma once

namespace sinkrouter {

// Tokens whose keys share one set of moments (tier 0). Every page size is a multiple.
inline constexpr int kBlockSize = 32;

}  // namespace sinkrouter
