#pragma once

#include <cstdint>

namespace sinkrouter::testing {

// How many allocations `operator new` has made, in all threads of this program. Whoever links
// sr_test_allocations has every form of `operator new` replaced by one that counts.
std::int64_t allocation_count();

}  // namespace sinkrouter::testing
