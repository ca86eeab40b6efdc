#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/rng.h"
#include "eval/fixed_point/noise.h"
#include "eval/fixed_point/output_map.h"
#include "eval/fixed_point/partial_read.h"
#include "eval/fixed_point/reservoir.h"
#include "sinkrouter/engine.h"
#include "sinkrouter/eval.h"
#include "sinkrouter/fixed_point.h"

namespace sinkrouter {

void validate(const FixedPointOptions& options);  // throws Error

// Adds up what the report says while an engine decodes the last tokens of a text. Spreads are those
// of a random sample of decisions, which all other figures count, so that memory does not grow.
class FixedPointObserver {
 public:
  // `window` is the policy's, `context` the rows there are after the last of `tokens`.
  FixedPointObserver(const Engine& engine, const FixedPointOptions& options, int window,
                     int context, int tokens, const Progress& progress = {});

  void observe(const AttentionObservation& seen);
  FixedPointReport report() const;

 private:
  struct HeadSums {
    std::int64_t dormant = 0;
    double sink_mass = 0;
    double sink_effect = 0;
    double dormant_effect = 0;
    double dormant_stream = 0;
    double awake_effect = 0;
    double awake_stream = 0;
    double sink_value_of_mean = 0;
    double sink_of_mean = 0;
  };
  static constexpr std::size_t kSampled = 1 << 15;  // decisions that spreads are of, at most

  struct NoiseSums {
    Reservoir<Movement> sample{kSampled};
    std::int64_t still_dormant = 0;
  };
  struct BoundSums {
    struct Pair {
      double bound = 0;
      double error = 0;
      double ratio() const { return bound > 0 ? error / bound : 0; }
    };

    // `slack` is what rounding may add to the error.
    void add(const Pair& pair, double slack, Rng& rng);
    BoundCheck check() const;

    Reservoir<Pair> sample{kSampled};
    std::int64_t within = 0;
    double largest_ratio = 0;
    LogHistogram histogram;
  };
  struct ErrorSums {
    Reservoir<double> unread_mass{kSampled};
    BoundSums output;
    BoundSums stream;
  };
  // The KV head at hand.
  struct Rows {
    std::vector<float> keys;         // [rows, head_dim], of perturbed tokens only
    std::vector<float> values;       // [rows, head_dim]
    std::vector<double> norms;       // [rows], of the values
    std::vector<std::uint8_t> sets;  // [rows], bit s: ReadRows s
    double mean_norm = 0;            // of the values but the sink's
    double largest_norm = 0;
  };

  void read_rows(const AttentionObservation& seen, int kv_head);
  void mark_sets(const AttentionObservation& seen, int kv_head);
  void observe_head(const AttentionObservation& seen, int head);
  void observe_errors(const AttentionObservation& seen, int head);
  void observe_error(ReadRows rows, const OutputMap& map);
  void observe_noise(const AttentionObservation& seen, int head);
  void observe_values(std::size_t index);
  HeadEffect effect_of(std::size_t at) const;
  bool perturbs(const AttentionObservation& seen) const;
  bool is_last(const AttentionObservation& seen) const { return seen.length == context_; }

  const ModelInfo& model_;
  FixedPointOptions options_;
  int window_;
  int context_;
  int tokens_;
  std::vector<OutputMap> maps_;         // [layers, q_heads]
  std::vector<double> residual_norms_;  // [layers], summed
  std::vector<HeadSums> heads_;         // [layers, q_heads]
  std::vector<NoiseSums> noise_;        // [directions, sizes]
  std::vector<ErrorSums> errors_;       // [ReadRows]
  double engine_difference_ = 0;

  // Of the observation in hand.
  double residual_norm_ = 0;
  Rows rows_;
  std::vector<double> logits_;     // [rows]
  std::vector<double> masses_;     // [rows]
  std::vector<double> shift_;      // [rows]
  std::vector<double> direction_;  // [head_dim]
  PartialRead read_;
  NoisyAttention noisy_;
  Rng rng_;
};

}  // namespace sinkrouter
