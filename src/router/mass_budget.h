#pragma once

#include <cstdint>

// The rule that every selection by mass is made of: per q head, take the largest estimates until
// what is left is at most a share of everything.
namespace sinkrouter {

// Memory of one selection. Candidates are numbered from 0.
struct MassScratch {
  float* masses;          // [padded]
  float* compacted;       // [padded]
  std::uint64_t* needed;  // [padded / 64]: bit i set when some q head needs candidate i

  MassScratch(void* memory, int candidates);  // 64-byte aligned, bytes(candidates)
  static std::int64_t bytes(int candidates);  // a multiple of 64

  void clear_needed(int candidates) const;
  void mark(int index) const { needed[index / 64] |= std::uint64_t{1} << (index % 64); }
};

// Words of 64 bits for one bit per candidate, padded as masses are.
int needed_words(int candidates);

// Calls fn(index) for the set bits of the first `count`, in ascending order.
template <typename Fn>
void for_each_bit(const std::uint64_t* words, int count, Fn&& fn) {
  for (int word = 0; word * 64 < count; ++word) {
    for (std::uint64_t rest = words[word]; rest != 0; rest &= rest - 1) {
      fn(word * 64 + __builtin_ctzll(rest));
    }
  }
}

// Log-masses that a q head weighs its candidates against.
struct Background {
  float kept = 0;  // of what is read in any case
  float left = 0;  // of what is left unread in any case; -inf for none
};

// What one q head may leave unread. Masses are relative to exp(reference).
struct MassBudget {
  bool readable = false;  // false: the estimates say nothing, read everything
  float reference = 0;
  double mass = 0;      // of all candidates
  double allowed = 0;   // of it may be left; below 0 when the background alone is too much
  float above_all = 0;  // larger than any candidate's mass

  bool needs_nothing() const { return mass <= allowed; }
};

// Fills scratch.masses. At most `epsilon` of all mass, background included, may be left.
MassBudget weigh_candidates(const float* log_masses, int count, const Background& background,
                            float epsilon, const MassScratch& scratch);

// The same for masses of at most exp(upper) and at least exp(lower): fills scratch.masses with the
// former, and allows `epsilon` of what is certain, exp(kept) and the latter, to be left.
MassBudget weigh_bounds(const float* lower, const float* upper, int count, float kept,
                        float epsilon, const MassScratch& scratch);

// Adds to scratch.needed the fewest of the largest masses (lower index first among equals) that
// bring what is left from more than budget.allowed down to it. Returns what is left, relative to
// exp(budget.reference).
double mark_largest(const MassScratch& scratch, int count, const MassBudget& budget);

}  // namespace sinkrouter
