#pragma once

#include <algorithm>
#include <cstdint>

#include "base/threads.h"

namespace sinkrouter::cpu {

// Calls work(begin, end) over [0, tokens) in spans worth a thread each; small jobs stay on the
// caller.
template <typename Work>
void for_token_spans(ThreadPool& threads, int tokens, int width, Work&& work) {
  constexpr std::int64_t kElementsPerTask = 1 << 14;
  const int span =
      static_cast<int>(std::max<std::int64_t>(1, kElementsPerTask / std::max(1, width)));
  threads.run((tokens + span - 1) / span,
              [&](int task, int) { work(task * span, std::min(tokens, (task + 1) * span)); });
}

}  // namespace sinkrouter::cpu
