#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "sinkrouter/policy.h"

namespace sinkrouter::cli {

// Policies as written on the command line: NAME[:SETTING=VALUE...][,NAME...], for example
//   margin:epsilon=0.02:granule=64,cosine:tau=0.6,streaming
// Settings not written are those of `defaults`. Throws Error saying what is wrong with which part.
std::vector<PolicyOptions> parse_policies(std::string_view text, const PolicyOptions& defaults);

// The policy with the settings that matter to it, in the same notation.
std::string to_spec(const PolicyOptions& policy);

}  // namespace sinkrouter::cli
