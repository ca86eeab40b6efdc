#pragma once

#include <array>
#include <cstdint>

// The vector loops of the router.
namespace sinkrouter {

// Relative error of masses and of sums of masses, against exact arithmetic on the log-masses: e -
// reference is rounded (to 2^-18, being at most 87), exp is good to 4e-6 even where products are
// rounded before they are added, and sums add floats in short runs before they go to double.
inline constexpr double kMassError = 1e-5;

// NaN when any value is NaN, -inf of nothing.
float max_or_nan(const float* values, int count);

// masses[i] = exp(log_masses[i] - reference), never less than exp(-87) (about 1.6e-38), so that
// underflow cannot hide mass. Returns their sum, which is infinite or NaN when a log-mass is NaN,
// +inf or more than 88 above the reference. `masses` has room for
// count rounded up to a multiple of kMassPadding; the excess is set to 0.
inline constexpr int kMassPadding = 64;
double fill_masses(const float* log_masses, int count, float reference, float* masses);

// sums[b] += factor * (masses[run * b] + ... + masses[run * b + run - 1]) for as many runs as cover
// `count` masses, padded as fill_masses leaves them. `run` divides kMassPadding and is at least 16.
void add_run_sums(const float* masses, int count, int run, float factor, float* sums);

// The functions below read `masses` padded as fill_masses leaves them; thresholds are > 0.

struct Compacted {
  int count = 0;          // masses written
  double mass_below = 0;  // of the others
};

// Copies the masses >= threshold, in order, to `out`, which has as much room as `masses` and is
// padded likewise.
Compacted compact_masses(const float* masses, int count, float threshold, float* out);

// Keeps the masses in [low, high), in order and padded likewise; returns how many.
int keep_between(float* masses, int count, float low, float high);

// The mass below each of a few pivots.
inline constexpr int kPivots = 3;
std::array<double, kPivots> sum_below(const float* masses, int count,
                                      const std::array<float, kPivots>& pivots);

// Sets bit i of words[i / 64] for each mass >= threshold.
void mark_at_least(const float* masses, int count, float threshold, std::uint64_t* words);

// out[i] = log(exp(in[2i]) + exp(in[2i + 1])) for pairs = a multiple of kMassPadding; out may be
// in.
void add_log_pairs(const float* in, int pairs, float* out);

}  // namespace sinkrouter
