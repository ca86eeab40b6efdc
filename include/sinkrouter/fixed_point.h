#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

// Whether a model's attention sink is what sink routing relies on: a fixed point of the residual
// stream that heads reach, that noise does not move, and whose error is bounded by what is left
// unread (docs/fixed-point.md). A decision is one q head at one token; it is dormant with more than
// kDormantMass of its attention on position 0.
namespace sinkrouter {

inline constexpr double kDormantMass = 0.9;

struct FixedPointOptions {
  static constexpr std::size_t kMostSizes = 16;
  std::vector<double> noise{0.05, 0.1, 0.2, 0.5};  // sizes, relative to the query's norm
  int perturbed_tokens = 32;                       // of the observed ones, evenly spread
  std::uint64_t seed = 1;                          // of random directions
};

struct Spread {
  double median = 0;
  double p95 = 0;
};

// What one q head adds to the residual stream, W_O^h times a value or an output, as norms. "Of the
// residual" is over the norm of the stream that the layer adds to, both averaged over tokens.
struct HeadEffect {
  int layer = 0;
  int head = 0;
  int kv_head = 0;
  double dormant_share = 0;                     // of the observed tokens
  double sink_mass = 0;                         // p_0, mean
  double sink_value_of_mean = 0;                // |v_0| over the mean |v_i| of the other rows
  double sink_of_mean = 0;                      // |W_O^h v_0| over the mean |W_O^h v_i|
  double sink_of_residual = 0;                  // p_0 |W_O^h v_0|
  std::optional<double> dormant_of_residual{};  // |W_O^h o| of dormant decisions, if any
  std::optional<double> awake_of_residual{};    // and of the others
};

enum class NoiseDirection { kRandom, kAlong, kAgainst };
std::string_view name(NoiseDirection direction);  // "random", "along", "against" the query

// How far dormant decisions move when their query does.
struct NoiseEffect {
  NoiseDirection direction = NoiseDirection::kRandom;
  double size = 0;             // relative to the query's norm
  std::int64_t decisions = 0;  // perturbed
  Spread sink_mass{};          // absolute change
  Spread output{};             // norm of the change over the mean value norm
  double still_dormant = 0;    // share
};

// Counts over two quantities in bins of equal width in log10; what is beyond is in the outer bins.
struct LogHistogram {
  static constexpr int kBins = 54;
  static constexpr double kLow = -8;  // log10
  static constexpr double kHigh = 1;

  std::vector<std::int64_t> counts =
      std::vector<std::int64_t>(std::size_t{kBins} * kBins);  // [y, x]

  static double edge(int bin);  // the lower one of a bin
  void add(double x, double y);
};

// What is read while the rest counts as unread: position 0 alone, the first block and the policy's
// window, or what the policy listed.
enum class ReadRows { kSink, kKept, kListed };
std::string_view name(ReadRows rows);  // "sink", "kept", "listed"

// Measured errors beside what they are bounded by.
struct BoundCheck {
  std::int64_t decisions = 0;
  double within_bound = 0;   // share, up to rounding
  double largest_ratio = 0;  // of error and bound
  Spread ratio{};            // error over bound
  Spread bound{};
  Spread error{};
  LogHistogram histogram{};  // x bound, y error
};

// The output of what is read, o_S, against that of all rows, o.
struct ErrorControl {
  ReadRows rows = ReadRows::kSink;
  std::int64_t decisions = 0;  // with enough unread for doubles to tell
  Spread unread_mass{};        // p_U
  // |o - o_S| beside p_U (R_V + |o_S|), R_V the largest unread value norm; over the mean value
  // norm.
  BoundCheck output{};
  // |W_O^h (o - o_S)| beside |W_O^h| times that bound, |W_O^h| the most W_O^h does to any vector;
  // over the norm of the stream that the layer adds to.
  BoundCheck stream{};
};

struct FixedPointReport {
  int tokens = 0;                        // observed
  double dormant_share = 0;              // of decisions
  std::vector<double> residual_norms{};  // [layers], entering the layer, mean
  std::vector<HeadEffect> heads{};       // [layers * q_heads]
  std::vector<NoiseEffect> noise{};      // by direction and size
  std::vector<ErrorControl> errors{};    // one for each ReadRows
  double engine_difference = 0;  // largest |engine's output - o_S| of the listed rows over the mean
                                 // value norm
};

}  // namespace sinkrouter
