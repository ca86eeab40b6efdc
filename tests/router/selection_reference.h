#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <numeric>
#include <set>
#include <vector>

#include "base/rng.h"
#include "router/kept_set.h"
#include "router/select.h"

namespace sinkrouter::test {

// A selection's inputs, owned.
struct Problem {
  KeptSet kept;
  std::vector<std::int32_t> pinned;
  int group = 1;
  std::vector<float> log_masses;  // [group, granules]
  std::vector<float> kept_lse;    // [group]

  Problem(int length, int granule, int window, int q_heads, std::vector<std::int32_t> pins = {})
      : pinned(std::move(pins)), group(q_heads), kept_lse(q_heads, 0.0f) {
    kept = make_kept_set(length, granule, window, pinned);
    log_masses.assign(static_cast<std::size_t>(group) * kept.granules, 0.0f);
  }
  // One q head of another problem, which must stay alive.
  Problem(const Problem& other, int q)
      : kept(other.kept),
        pinned(other.pinned),
        log_masses(other.log_masses.begin() + std::int64_t{q} * other.kept.granules,
                   other.log_masses.begin() + (q + std::int64_t{1}) * other.kept.granules),
        kept_lse(1, other.kept_lse[q]) {}
  Problem(const Problem&) = delete;

  float& log_mass(int q, int g) { return log_masses[q * kept.granules + g]; }
  std::vector<std::int32_t> candidates() const {
    std::vector<std::int32_t> result;
    for (int g = 0; g < kept.granules; ++g) {
      if (!kept.contains(g)) result.push_back(g);
    }
    return result;
  }
};

struct Listed {
  std::vector<std::int32_t> list;
  bool routed = false;
};

template <typename Select>
Listed run(Select select, const Problem& problem, float epsilon) {
  const auto bytes = static_cast<std::size_t>(select_scratch_bytes(problem.kept.granules));
  std::vector<std::uint8_t> storage(bytes + 64, 0xff);
  void* scratch = storage.data();
  std::size_t space = storage.size();
  std::align(64, bytes, scratch, space);
  std::vector<float> log_masses = problem.log_masses;
  const GroupEstimates estimates{log_masses.data(), problem.kept.granules, problem.kept_lse.data(),
                                 problem.group};
  Listed result;
  result.list.resize(problem.kept.granules);
  const Selection selection = select(problem.kept, estimates, epsilon, scratch, result.list.data());
  result.list.resize(selection.count);
  result.routed = selection.routed;
  return result;
}

// Share of one q head's estimated mass on candidates that are not on the list, in doubles.
inline double unread_share(const Problem& problem, int q, const std::vector<std::int32_t>& list) {
  const std::vector<std::int32_t> candidates = problem.candidates();
  double reference = problem.kept_lse[q];
  const float* e = &problem.log_masses[static_cast<std::size_t>(q) * problem.kept.granules];
  for (std::int32_t g : candidates) reference = std::max(reference, double{e[g]});
  double total = std::exp(problem.kept_lse[q] - reference);
  double left = 0;
  for (std::int32_t g : candidates) {
    const double mass = std::exp(e[g] - reference);
    total += mass;
    if (!std::ranges::binary_search(list, g)) left += mass;
  }
  return left / total;
}

// The rule as written: sort, take from the top, stop at the bound. Candidates only.
inline std::set<std::int32_t> sorted_selection(const Problem& problem, int q, double epsilon) {
  std::vector<std::int32_t> order = problem.candidates();
  const float* e = &problem.log_masses[static_cast<std::size_t>(q) * problem.kept.granules];
  std::ranges::stable_sort(order, [&](std::int32_t a, std::int32_t b) { return e[a] > e[b]; });
  double reference = problem.kept_lse[q];
  for (std::int32_t g : order) reference = std::max(reference, double{e[g]});
  std::vector<double> left(order.size() + 1, 0.0);  // after taking the first i
  for (std::size_t i = order.size(); i > 0; --i) {
    left[i - 1] = left[i] + std::exp(e[order[i - 1]] - reference);
  }
  const double total = std::exp(problem.kept_lse[q] - reference) + left[0];
  std::size_t taken = 0;
  while (left[taken] > epsilon * total) ++taken;
  return {order.begin(), order.begin() + static_cast<std::ptrdiff_t>(taken)};
}

inline std::vector<std::int32_t> kept_list(const Problem& problem) {
  std::vector<std::int32_t> list(problem.kept.granules);
  list.resize(write_kept_list(problem.kept, list.data()));
  return list;
}

inline std::vector<std::int32_t> all_granules(const Problem& problem) {
  std::vector<std::int32_t> list(problem.kept.granules);
  std::iota(list.begin(), list.end(), 0);
  return list;
}

// The list the rule gives when bounds are `epsilon`.
inline std::vector<std::int32_t> sorted_list(const Problem& problem, double epsilon) {
  const std::vector<std::int32_t> kept = kept_list(problem);
  std::set<std::int32_t> result(kept.begin(), kept.end());
  for (int q = 0; q < problem.group; ++q) result.merge(sorted_selection(problem, q, epsilon));
  return {result.begin(), result.end()};
}

// Estimates with the shapes that occur: near-uniform, peaked, many ties, huge ranges.
inline void fill_randomly(Problem& problem, Rng& rng) {
  for (int q = 0; q < problem.group; ++q) {
    const std::uint64_t shape = rng.below(6);
    constexpr float kSpreads[] = {0.01f, 1.0f, 3.0f, 10.0f, 60.0f, 1.0f};
    const float spread = kSpreads[shape];
    for (int g = 0; g < problem.kept.granules; ++g) {
      float e = spread * rng.normal();
      if (shape == 5) e = std::round(e);
      problem.log_mass(q, g) = e;
    }
    const float around = std::log(1.0f + static_cast<float>(problem.kept.granules));
    problem.kept_lse[q] = around + 4.0f * rng.normal() + (rng.below(2) == 0 ? spread : 0.0f);
  }
}

}  // namespace sinkrouter::test
