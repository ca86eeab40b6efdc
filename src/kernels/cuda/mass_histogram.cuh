#pragma once

#include "kernels/cuda/router_device.cuh"

// Which candidates a q head needs, without a sort: candidates count by bins of their log-mass, and
// the rule of router/mass_budget.h is applied to bins. Numbers of candidates are whole, so that
// neither the order of additions nor the number of blocks at work changes a decision.
//
// Let e be a candidate's log-mass and r the head's reference. Bin b holds kLowestDepth + b / 32 <=
// e - r < kLowestDepth + (b + 1) / 32, the first one also everything below, the last one everything
// above. What is left is counted with the upper edges of its bins (the last bin is never left) and
// all there is with the lower ones (0 for the first bin): of the same estimates at most epsilon is
// left, and less than exp(-2 / 32) of that only where leaving one more bin would be too much. What
// tier 0 left is known by the upper edges of its bins too. Of all there is its first bin's part is
// no certain one, but blocks there weigh exp(-24) each and the kept set at least 1 (r is a logit of
// it): kRounding is enough for two million of them.
namespace sinkrouter::cuda {

inline constexpr float kBinsPerNat = 32.0f;
inline constexpr float kLowestDepth = -24.0f;
inline constexpr std::uint32_t kAlwaysRead = 0xffffu;  // in place of a bin: kept
inline constexpr float kBinRatio = 1.03174341f;        // exp(1 / 32)

__device__ inline bool is_usable(float score) { return score < infinity(); }

__device__ inline int bin_of(float score, float reference) {
  const float place = (score - reference - kLowestDepth) * kBinsPerNat;
  return __float2int_rd(fminf(fmaxf(place, 0.0f), static_cast<float>(kMassBins - 1)));
}

struct MassThreshold {
  int first_bin;  // candidates of this bin and higher ones are read
  bool takes;     // whether there are such
  bool unknown;   // nothing can be said: everything is read
  float left;     // log of the most mass that lower bins have
};

// Of one warp; every lane gets the result. `kept` and `left`: log-masses of what is read anyway and
// of what is left already.
__device__ inline MassThreshold find_threshold(const std::uint32_t* histogram, bool doubtful,
                                               float reference, float kept, float left,
                                               float epsilon) {
  constexpr int kRounds = kMassBins / (4 * kWarp);
  constexpr float kRounding = 1.0f - 1e-4f;
  constexpr float kMostDepth = 80.0f;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  uint4 counts[kRounds];
#pragma unroll
  for (int i = 0; i < kRounds; ++i) {
    counts[i] = __ldcg(reinterpret_cast<const uint4*>(histogram) + i * kWarp + lane);
  }
  const bool finite = fabsf(reference) < infinity();
  if (doubtful || !finite || !(kept < infinity()) || left != left || !(epsilon > 0.0f)) {
    return {0, true, true, __int_as_float(0x7fc00000)};
  }
  const auto masses_of = [&](int round, const uint4& count, float(&masses)[4]) {
    const float edge = kLowestDepth + (round * 4 * kWarp + 4 * lane + 1) / kBinsPerNat;
    float mass = __expf(edge);
    const std::uint32_t numbers[4] = {count.x, count.y, count.z, count.w};
    float sum = 0;
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      masses[k] = static_cast<float>(numbers[k]) * mass;
      sum += masses[k];
      mass *= kBinRatio;
    }
    return sum;
  };
  float sums[kRounds];
  float all = 0;
#pragma unroll
  for (int i = 0; i < kRounds; ++i) {
    float masses[4];
    sums[i] = warp_sum(masses_of(i, counts[i], masses));
    all += sums[i];
  }
  const float bottom = __shfl_sync(kAllLanes, static_cast<float>(counts[0].x), 0) *
                       __expf(kLowestDepth + 1 / kBinsPerNat);
  const bool top = __shfl_sync(kAllLanes, counts[kRounds - 1].w, kWarp - 1) != 0;
  const float kept_mass = __expf(fminf(kept - reference, kMostDepth));
  const float left_mass = __expf(fminf(left - reference, kMostDepth));
  const float certain = kept_mass + (all - bottom + left_mass) / kBinRatio;
  const float allowed = epsilon * certain * kRounding - left_mass;

  float below = 0;
  int round = 0;
  float own[4] = {};
  bool found = false;
#pragma unroll
  for (int i = 0; i < kRounds; ++i) {
    const bool fits = below + sums[i] <= allowed && !(top && i == kRounds - 1);
    if (!found && !fits) {
      found = true;
      round = i;
      masses_of(i, counts[i], own);
    }
    if (!found) below += sums[i];
  }
  if (!found) return {kMassBins, false, false, reference + __logf(below + left_mass)};
  if (top && round == kRounds - 1 && lane == kWarp - 1) own[3] = infinity();
  const float total = own[0] + own[1] + own[2] + own[3];
  float before = warp_prefix(total);
  before = __shfl_up_sync(kAllLanes, before, 1);
  before = below + (lane == 0 ? 0.0f : before);
  int bin = -1;
  float left_below = before;
#pragma unroll
  for (int k = 0; k < 4; ++k) {
    if (bin >= 0) continue;
    if (left_below + own[k] > allowed) {
      bin = (round * kWarp + lane) * 4 + k;
    } else {
      left_below += own[k];
    }
  }
  const unsigned failing = __ballot_sync(kAllLanes, bin >= 0);
  const int first = failing == 0 ? kWarp - 1 : __ffs(static_cast<int>(failing)) - 1;
  bin = __shfl_sync(kAllLanes, bin, first);
  left_below = __shfl_sync(kAllLanes, left_below, first);
  // Sums in another order may have found room for the whole round.
  if (failing == 0) bin = (round + 1) * 4 * kWarp;
  return {bin, all > 0.0f, false, reference + __logf(left_below + left_mass)};
}

}  // namespace sinkrouter::cuda
