#pragma once

#include "kernels/cuda/kept_lists.cuh"

// The rule of router/mass_budget.h by one CTA, without a sort: a histogram over log-masses finds a
// narrow interval that holds the boundary, a second one within it finds the boundary itself.
namespace sinkrouter::cuda {

inline constexpr int kCachedItems = 16;  // of a thread, in registers
inline constexpr int kChunk = kSelectThreads * kCachedItems;
inline constexpr int kBins = 2048;
inline constexpr float kBinsPerNat = 64.0f;
inline constexpr float kMostDepth = 87.0f;  // below the reference; deeper masses count as this deep
inline constexpr int kSubBins = 1024;
inline constexpr int kMostTied = 64;  // candidates of the boundary that are told apart

struct SelectShared {
  std::int32_t bins[kBins];
  float floats[33];
  double sums[33];
  std::int32_t ints[33];
  int first_bin;
  int end_bin;
  int boundary;
  float below;
  int tied_count;
  float tied_depths[kMostTied];
  int tied_indices[kMostTied];
  float reference;
  float all;
  float left;
  int unreadable;
};

struct MassChoice {
  HeadNeed need;
  float left;  // log-mass of what is not marked
};

__device__ inline float mass_at(float depth) { return __expf(-fminf(depth, kMostDepth)); }

// Bins count down from the reference.
__device__ inline int bin_of(float depth) {
  return min(__float2int_rd(fminf(depth, kMostDepth) * kBinsPerNat), kBins - 1);
}

// Calls visit(value, index) for the thread's candidates, those of the first chunk from `cached`.
// Indices of a warp are consecutive, so that every whole warp sees the same candidates; past the
// last one the value is not to be used.
template <typename Load, typename Visit>
__device__ void for_candidates(const float (&cached)[kCachedItems], const Load& load, int count,
                               const Visit& visit) {
#pragma unroll
  for (int i = 0; i < kCachedItems; ++i) {
    const int index = i * kSelectThreads + static_cast<int>(threadIdx.x);
    if (i * kSelectThreads < count) visit(cached[i], index);
  }
  for (int first = kChunk; first < count; first += kChunk) {
    float values[kCachedItems];
#pragma unroll
    for (int i = 0; i < kCachedItems; ++i) {
      const int index = first + i * kSelectThreads + static_cast<int>(threadIdx.x);
      values[i] = index < count ? load(index) : 0.0f;
    }
#pragma unroll
    for (int i = 0; i < kCachedItems; ++i) {
      const int index = first + i * kSelectThreads + static_cast<int>(threadIdx.x);
      if (first + i * kSelectThreads < count) visit(values[i], index);
    }
  }
}

// Sets words[i / 32], bit i % 32, for each candidate that must be read so that at most `epsilon`
// of all mass, exp(kept) and exp(left) included, is left. The words are written unless the need is
// kNeedsUnknown, or kNeedsNothing.
template <typename Load>
__device__ MassChoice choose_by_mass(const Load& load, int count, float kept, float left,
                                     float epsilon, std::uint32_t* words, SelectShared& shared) {
  constexpr double kBoundShrink = 1.0 - 2.5e-5;
  constexpr double kLeftGrowth = 1.0 + 2.5e-5;
  const int thread = static_cast<int>(threadIdx.x);
  const int lane = thread % kWarp;
  const int warp = thread / kWarp;
  float cached[kCachedItems];
#pragma unroll
  for (int i = 0; i < kCachedItems; ++i) {
    const int index = i * kSelectThreads + thread;
    cached[i] = index < count ? load(index) : -infinity();
  }

  // The reference, and whether everything is a number.
  float largest = fmaxf(kept, left);
  bool doubtful = kept != kept || left != left;
  for_candidates(cached, load, count, [&](float value, int index) {
    if (index >= count) return;
    largest = fmaxf(largest, value);
    doubtful = doubtful || value != value;
  });
  largest = warp_max(largest);
  if (thread == 0) {
    shared.tied_count = 0;
    shared.boundary = 0;
    shared.first_bin = 0;
    shared.end_bin = kBins;
  }
  for (int bin = thread; bin < kBins; bin += kSelectThreads) shared.bins[bin] = 0;
  if (lane == 0) shared.floats[warp] = largest;
  doubtful = __syncthreads_or(doubtful);
  if (warp == 0) {
    largest = warp_max(shared.floats[lane]);
    if (lane == 0) shared.reference = largest;
  }
  __syncthreads();
  const float reference = shared.reference;
  if (doubtful || reference == infinity() || reference == -infinity()) {
    return {kNeedsUnknown, -infinity()};
  }

  float mass = 0;
  for_candidates(cached, load, count, [&](float value, int index) {
    if (index >= count) return;
    const float depth = reference - value;
    mass += mass_at(depth);
    atomicAdd(&shared.bins[bin_of(depth)], 1);
  });
  double total;
  block_prefix(static_cast<double>(mass), shared.sums, total);
  const double kept_mass = exp(fmax(static_cast<double>(kept) - reference, -700.0));
  const double left_mass = left == -infinity() ? 0.0 : exp(static_cast<double>(left) - reference);
  const double allowed =
      static_cast<double>(epsilon) * (kept_mass + left_mass + total) * kBoundShrink -
      left_mass * kLeftGrowth;
  if (total <= allowed) {
    return {kNeedsNothing, reference + static_cast<float>(log(total))};
  }
  const int word_count = (count + kWarp - 1) / kWarp;
  if (allowed <= 0) {
    for (int word = thread; word < word_count; word += kSelectThreads) {
      words[word] = count - word * kWarp >= kWarp ? kAllLanes : (1u << (count - word * kWarp)) - 1;
    }
    return {kNeedsSome, -infinity()};
  }

  // Masses from the last bin up, at most and at least: bins that may surely be left, and bins that
  // surely may not all be.
  constexpr int kOwn = kBins / kSelectThreads;
  const float limit = static_cast<float>(allowed);
  {
    float most = 0;
    float least = 0;
    float most_from[kOwn];
    float least_from[kOwn];
#pragma unroll
    for (int i = 0; i < kOwn; ++i) {
      const int bin = kBins - 1 - (thread * kOwn + i);
      const auto number = static_cast<float>(shared.bins[bin]);
      most += number * __expf(-static_cast<float>(bin) / kBinsPerNat) * 1.00002f;
      least += bin == kBins - 1
                   ? 0.0f
                   : number * __expf(-static_cast<float>(bin + 1) / kBinsPerNat) * 0.99998f;
      most_from[i] = most;
      least_from[i] = least;
    }
    float all;
    const float most_before = block_prefix(most, shared.floats, all) - most;
    const float least_before = block_prefix(least, shared.floats, all) - least;
#pragma unroll
    for (int i = 0; i < kOwn; ++i) {
      const int bin = kBins - 1 - (thread * kOwn + i);
      if ((most_before + most_from[i]) * 1.00001f <= limit) atomicMin(&shared.end_bin, bin);
      if ((least_before + least_from[i]) * 0.99999f > limit) atomicMax(&shared.first_bin, bin);
    }
  }
  __syncthreads();
  const int first_bin = shared.first_bin;
  const int end_bin = max(shared.end_bin, first_bin + 1);
  const float top = static_cast<float>(first_bin) / kBinsPerNat;
  const float bottom = end_bin >= kBins ? kMostDepth : static_cast<float>(end_bin) / kBinsPerNat;
  const float sub_scale = static_cast<float>(kSubBins) / (bottom - top);
  const auto sub_of = [&](float depth) {
    const int sub = __float2int_rd((fminf(depth, kMostDepth) - top) * sub_scale);
    return min(max(sub, 0), kSubBins - 1);
  };
  for (int bin = thread; bin < kSubBins; bin += kSelectThreads) shared.bins[bin] = 0;
  __syncthreads();

  float deeper = 0;
  for_candidates(cached, load, count, [&](float value, int index) {
    if (index >= count) return;
    const float depth = reference - value;
    const int bin = bin_of(depth);
    if (bin >= end_bin) {
      deeper += mass_at(depth);
    } else if (bin >= first_bin) {
      atomicAdd(&shared.bins[sub_of(depth)], 1);
    }
  });
  double below;
  block_prefix(static_cast<double>(deeper), shared.sums, below);
  {
    const int sub = kSubBins - 1 - thread;
    const float own = static_cast<float>(shared.bins[sub]) *
                      __expf(-(top + static_cast<float>(sub) / sub_scale)) * 1.00001f;
    float all;
    const float from = block_prefix(own, shared.floats, all);
    // The deepest run of sub-bins that may be left ends above `boundary`, which holds the boundary.
    if (below + static_cast<double>(from) > allowed) {
      atomicMax(&shared.boundary, sub);
    }
    __syncthreads();
    if (sub == shared.boundary) shared.below = from - own;
  }
  __syncthreads();
  const int boundary = shared.boundary;

  float unmarked = 0;
  for_candidates(cached, load, count, [&](float value, int index) {
    const bool valid = index < count;
    const float depth = reference - value;
    const int bin = bin_of(depth);
    const bool inside = bin >= first_bin && bin < end_bin;
    const int sub = sub_of(depth);
    const bool marked = valid && (bin < first_bin || (inside && sub < boundary));
    if (valid && inside && sub == boundary) {
      const int place = atomicAdd(&shared.tied_count, 1);
      if (place < kMostTied) {
        shared.tied_depths[place] = depth;
        shared.tied_indices[place] = index;
      }
    } else if (valid && !marked) {
      unmarked += mass_at(depth);
    }
    const unsigned bits = __ballot_sync(kAllLanes, marked);
    if (lane == 0 && index < count) words[index / kWarp] = bits;
  });
  __syncthreads();
  const int tied = shared.tied_count;
  double unmarked_mass;
  if (tied <= kMostTied) {
    // Each tied candidate with those after it in order: deeper, or as deep with a higher index.
    if (thread < tied) {
      const float depth = shared.tied_depths[thread];
      const int index = shared.tied_indices[thread];
      double from = below + static_cast<double>(shared.below);
      for (int i = 0; i < tied; ++i) {
        const float other = shared.tied_depths[i];
        if (other > depth || (other == depth && shared.tied_indices[i] >= index)) {
          from += static_cast<double>(mass_at(other));
        }
      }
      if (from > allowed) {
        atomicOr(&words[index / kWarp], 1u << (index % kWarp));
      } else {
        unmarked += mass_at(depth);
      }
    }
    block_prefix(static_cast<double>(unmarked), shared.sums, unmarked_mass);
  } else {
    // As good as equal masses: all of them are read.
    block_prefix(static_cast<double>(unmarked), shared.sums, unmarked_mass);
    for_candidates(cached, load, count, [&](float value, int index) {
      const float depth = reference - value;
      const int bin = bin_of(depth);
      const bool marked =
          index < count && bin >= first_bin && bin < end_bin && sub_of(depth) == boundary;
      const unsigned bits = __ballot_sync(kAllLanes, marked);
      if (lane == 0 && index < count) words[index / kWarp] |= bits;
    });
  }
  return {kNeedsSome,
          unmarked_mass > 0 ? reference + static_cast<float>(log(unmarked_mass)) : -infinity()};
}

// Writes entry(i) for the set bits i of word_of(0 .. words), ascending, from list[start] on.
// Returns the end.
template <typename WordOf, typename Entry>
__device__ int write_set_bits(int words, const WordOf& word_of, const Entry& entry, int start,
                              std::int32_t* list, SelectShared& shared) {
  const int thread = static_cast<int>(threadIdx.x);
  const int lane = thread % kWarp;
  for (int first = 0; first < words; first += kSelectThreads) {
    const int word = first + thread;
    const std::uint32_t bits = word < words ? word_of(word) : 0u;
    const int own = __popc(bits);
    int total;
    const int begin = start + block_prefix(own, shared.ints, total) - own;
    for (unsigned rest = __ballot_sync(kAllLanes, bits != 0); rest != 0; rest &= rest - 1) {
      const int from = __ffs(static_cast<int>(rest)) - 1;
      const std::uint32_t of_word = __shfl_sync(kAllLanes, bits, from);
      const int at = __shfl_sync(kAllLanes, begin, from);
      if (of_word >> lane & 1u) {
        const int index = (word - lane + from) * kWarp + lane;
        list[at + __popc(of_word & ((1u << lane) - 1))] = entry(index);
      }
    }
    start += total;
  }
  return start;
}

// Whether this CTA is the last of `expected` that arrive; the counter is zero again then.
__device__ inline bool arrives_last(std::uint32_t* counter, std::uint32_t expected, int& shared) {
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    const bool last = atomicAdd(counter, 1u) == expected - 1;
    if (last) *counter = 0;
    shared = last ? 1 : 0;
  }
  __syncthreads();
  __threadfence();
  return shared != 0;
}

}  // namespace sinkrouter::cuda
