#include "router/sinks.h"

#include <algorithm>

namespace sinkrouter {

int find_sinks(const KeptSet& kept, std::span<const float> masses, std::span<SinkBlock> sinks) {
  std::size_t found = 0;
  for (std::int32_t block = kept.head_end; block < kept.tail_begin; ++block) {
    const float mass = masses[static_cast<std::size_t>(block)];
    if (!(mass >= kLeastSinkMass) || sinks.empty()) continue;
    if (found < sinks.size()) {
      sinks[found++] = {block, mass};
      continue;
    }
    const auto lightest =
        std::min_element(sinks.begin(), sinks.end(),
                         [](const SinkBlock& a, const SinkBlock& b) { return a.mass < b.mass; });
    if (lightest->mass < mass) *lightest = {block, mass};
  }
  std::sort(sinks.begin(), sinks.begin() + static_cast<std::ptrdiff_t>(found),
            [](const SinkBlock& a, const SinkBlock& b) { return a.block < b.block; });
  return static_cast<int>(found);
}

int refresh_sinks(const KeptSet& kept, std::span<const float> masses,
                  std::span<const SinkBlock> known, std::span<SinkBlock> sinks) {
  std::size_t count = 0;
  for (const SinkBlock& sink : known) {
    const float mass =
        kSinkMemory * sink.mass + (1 - kSinkMemory) * masses[static_cast<std::size_t>(sink.block)];
    if (!(mass >= 0.5f * kLeastSinkMass) || count == sinks.size()) continue;
    sinks[count++] = {sink.block, mass};
  }
  const std::span<const SinkBlock> stayed = sinks.first(count);
  for (std::int32_t block = kept.head_end; block < kept.tail_begin && count < sinks.size();
       ++block) {
    const float mass = masses[static_cast<std::size_t>(block)];
    const bool is_known =
        std::ranges::any_of(stayed, [&](const SinkBlock& sink) { return sink.block == block; });
    if (mass >= kLeastSinkMass && !is_known) sinks[count++] = {block, mass};
  }
  std::sort(sinks.begin(), sinks.begin() + static_cast<std::ptrdiff_t>(count),
            [](const SinkBlock& a, const SinkBlock& b) { return a.block < b.block; });
  return static_cast<int>(count);
}

}  // namespace sinkrouter
