#pragma once

#include <cstdint>
#include <vector>

#include "router_cases.h"

// Bins that the router's tiers leave, against those of the reference's scores.
namespace sinkrouter::cuda_tests {

// Tier 0's bins of candidates, against scores [heads, stride] of blocks.
void check_granule_bins(const Case& c, const Host& h, const std::vector<float>& scores,
                        const std::vector<float>& references,
                        const std::vector<std::uint16_t>& bins, std::int64_t stride,
                        Report& report);

struct ListedBlocksOfGroups {
  const std::vector<std::int32_t>& blocks;
  const std::vector<std::int32_t>& counts;
  const std::vector<std::vector<int>>& kept;
  std::int64_t stride;
};

// Tier 1's bins of rows. Scores of kept rows become -inf: the router does not look at them.
void check_row_bins(const Case& c, std::vector<float>& scores, const std::vector<float>& references,
                    const std::vector<std::uint16_t>& bins, const ListedBlocksOfGroups& listed,
                    Report& report);

}  // namespace sinkrouter::cuda_tests
