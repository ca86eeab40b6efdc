#include "kernels/cuda/router_step.h"

#include <algorithm>
#include <cstddef>

#include "kernels/cuda/device.h"
#include "kernels/cuda/select_shape.h"

namespace sinkrouter::cuda {
namespace {

std::int64_t block_stride(const RouterLimits& limits) {
  return (std::int64_t{limits.length} / kBlockSize + 1 + 31) / 32 * 32;
}

// Hands out pieces of one allocation, or only adds them up.
class Carver {
 public:
  explicit Carver(void* memory) : memory_(static_cast<std::byte*>(memory)) {}

  template <typename T>
  void take(T*& pointer, std::int64_t count) {
    constexpr std::int64_t kAlignment = 256;
    if (memory_ != nullptr) pointer = reinterpret_cast<T*>(memory_ + used_);
    used_ +=
        (count * static_cast<std::int64_t>(sizeof(T)) + kAlignment - 1) / kAlignment * kAlignment;
  }
  std::int64_t used() const { return used_; }

 private:
  std::byte* memory_;
  std::int64_t used_ = 0;
};

std::int64_t carve(const RouterLimits& limits, void* memory, RouterWorkspace& work) {
  const std::int64_t heads = std::int64_t{limits.sequences} * limits.q_heads;
  const std::int64_t groups = std::int64_t{limits.sequences} * limits.kv_heads;
  const bool rows = limits.granule < kBlockSize;
  const int slots = head_slots(limits.q_heads / limits.kv_heads);
  work.block_stride = block_stride(limits);
  work.row_stride = work.block_stride * kBlockSize;
  work.chunks = select_chunks(limits);
  Carver carver(memory);
  carver.take(work.histograms, 2 * heads * kMassBins);
  carver.take(work.doubtful, 2 * heads);
  carver.take(work.progress, 2 * groups * work.chunks);
  carver.take(work.kept_parts, heads * kept_units(limits));
  carver.take(work.references, heads);
  carver.take(work.kept_lse, heads);
  carver.take(work.left, heads);
  carver.take(work.bins, groups * work.block_stride * slots);
  if (!rows) return carver.used();
  carver.take(work.mean_logits, groups * work.block_stride * slots);
  carver.take(work.query_codes, heads * limits.head_dim);
  carver.take(work.query_steps, heads);
  carver.take(work.query_sums, heads);
  carver.take(work.query_squares, heads);
  carver.take(work.blocks, groups * work.block_stride);
  carver.take(work.block_indices, groups * work.block_stride);
  carver.take(work.block_counts, groups);
  carver.take(work.row_bins, groups * work.row_stride * slots);
  return carver.used();
}

}  // namespace

int kept_units(const RouterLimits& limits) {
  const std::int64_t granule = std::max(limits.granule, kBlockSize);
  const std::int64_t all = limits.length / granule + 1;
  const std::int64_t tail = limits.window / granule + 3;
  const std::int64_t granules = std::min(all, tail + 1) + kMostPinned;
  constexpr std::int64_t kMostUnits = 512;
  return static_cast<int>(
      std::min(kMostUnits, (granules * (granule / kBlockSize) + kKeptBlocks - 1) / kKeptBlocks));
}

std::int64_t router_workspace_bytes(const RouterLimits& limits) {
  RouterWorkspace work;
  return carve(limits, nullptr, work);
}

RouterWorkspace router_workspace(const RouterLimits& limits, void* memory) {
  RouterWorkspace work;
  carve(limits, memory, work);
  return work;
}

void clear_router_workspace(const RouterLimits& limits, const RouterWorkspace& workspace,
                            cudaStream_t stream) {
  const std::int64_t heads = std::int64_t{limits.sequences} * limits.q_heads;
  constexpr const char* kWhat = "clearing the router's workspace";
  check(cudaMemsetAsync(workspace.histograms, 0, 2 * heads * kMassBins * sizeof(std::uint32_t),
                        stream),
        kWhat);
  check(cudaMemsetAsync(workspace.doubtful, 0, 2 * heads * sizeof(std::uint32_t), stream), kWhat);
}

void launch_router(const RouterStep& step, const RouterLimits& limits, cudaStream_t stream) {
  if (step.rule != RouterRule::kMargin && step.rule != RouterRule::kRoute) {
    launch_plain_lists(step, limits, stream);
    return;
  }
  launch_tier0(step, limits, stream);
  launch_select_granules(step, limits, stream);
  if (limits.granule >= kBlockSize) return;
  launch_tier1(step, limits, stream);
  launch_select_rows(step, limits, stream);
}

}  // namespace sinkrouter::cuda
