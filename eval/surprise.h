#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sinkrouter/engine.h"

namespace sinkrouter {

// The text's tokens a window of `context` tokens needs beside `start`: the last one is predicted
// but never put into the cache.
std::int64_t window_tokens(std::span<const int> start, int context);
// Window `index` of `count`, evenly spread over the text: `start`, then window_tokens() of it.
std::vector<int> text_window(std::span<const int> start, std::span<const int> text, int context,
                             int index, int count);

// Sum of -log p of window[first + 1 ..], in nats, while window[first ..] is decoded under the
// policy from a sequence that holds window[.. first).
double surprise(Engine& engine, Sequence& sequence, std::span<const int> window, int first,
                const PolicyOptions& policy);

}  // namespace sinkrouter
