#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace sinkrouter {

// What reading some rows only does to one q head's output.
struct ReadError {
  double unread_mass = 0;            // p_U
  double bound = 0;                  // p_U (R_V + |o_S|)
  double error = 0;                  // |o - o_S|
  std::vector<double> difference{};  // o - o_S
};

// Attention of one q head over rows that belong to some of a few sets: bit s of a row's byte says
// that set s holds it. One pass over the values serves all sets.
class PartialRead {
 public:
  static constexpr int kMaxSets = 3;

  explicit PartialRead(int head_dim);

  // masses, norms (of the values) and sets [rows]; values [rows, head_dim].
  void attend(std::span<const double> masses, std::span<const float> values,
              std::span<const double> norms, std::span<const std::uint8_t> sets);

  std::span<const double> output() const { return output_; }  // of all rows
  // As if there were no other rows; the set must have some mass.
  std::vector<double> output_of(int set) const;
  double unread_mass(int set) const;
  ReadError error_of(int set) const;

 private:
  static constexpr int kParts = 1 << kMaxSets;

  // The rows that belong to the same sets.
  struct Part {
    double mass = 0;
    double largest_norm = 0;
    std::vector<double> sum;
  };

  std::array<Part, kParts> parts_;
  std::vector<double> output_;
};

}  // namespace sinkrouter
