#include "router/row_lists.h"

namespace sinkrouter {

Selection select_certified(const KeptSet& kept, std::span<const std::int32_t> blocks,
                           const RowBounds& bounds, float epsilon, void* scratch,
                           std::int32_t* list) {
  if (!(epsilon > 0.0f)) return all_rows(kept, list);
  if (blocks.empty()) return kept_rows(kept, list);
  for (float* of_group : {bounds.lower, bounds.upper}) {
    silence_pinned_blocks(kept, blocks, of_group, bounds.stride, bounds.group);
  }
  return take_rows(
      kept, blocks, bounds.group, scratch, list, [&](int q, const MassScratch& memory) {
        return weigh_bounds(bounds.lower + q * bounds.stride, bounds.upper + q * bounds.stride,
                            static_cast<int>(blocks.size()) * kBlockSize, bounds.kept_lse[q],
                            epsilon, memory);
      });
}

}  // namespace sinkrouter
