#pragma once

#include <cstdint>
#include <span>

#include "router/kept_set.h"

namespace sinkrouter {

struct SinkBlock {
  std::int32_t block = 0;
  float mass = 0;
};

// A block with less of the mean attention mass than this is no sink.
inline constexpr float kLeastSinkMass = 0.1f;

// What is known of a sink fades by half with every look at it.
inline constexpr float kSinkMemory = 0.5f;

// The blocks outside the kept set with the largest mean mass, at least kLeastSinkMass, as many as
// fit `sinks`; ascending by block. `masses` [kept.granules], shares of all mass averaged over
// queries; `kept` has granule kBlockSize. NaN is no sink. Returns how many.
int find_sinks(const KeptSet& kept, std::span<const float> masses, std::span<SinkBlock> sinks);

// Sinks after one more look: those known keep their place while the mean of their mass stays at
// least half of kLeastSinkMass, new ones fill what room is left. `known` and the result are
// ascending; `masses` as in find_sinks, of a `kept` set that does not count them as pinned. Returns
// how many.
int refresh_sinks(const KeptSet& kept, std::span<const float> masses,
                  std::span<const SinkBlock> known, std::span<SinkBlock> sinks);

}  // namespace sinkrouter
