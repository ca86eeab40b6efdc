#include "mass_range.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace sinkrouter::cuda_tests {
namespace {

int chosen(const std::vector<float>& v, const std::vector<int>& order, double kept, double left,
           double epsilon, double reference, double& rest) {
  double total = 0;
  for (float x : v) total += std::exp(std::max<double>(x - reference, -87.0));
  const double l = std::exp(left - reference);
  const double allowed = epsilon * (std::exp(kept - reference) + l + total) - l;
  rest = total;
  int n = 0;
  while (n < static_cast<int>(order.size()) && rest > allowed) {
    // Added up from the small end, so that no digits are lost where it matters.
    rest -= std::exp(std::max<double>(v[order[n++]] - reference, -87.0));
    if (n % 64 == 0) {
      rest = 0;
      for (std::size_t i = n; i < order.size(); ++i)
        rest += std::exp(std::max<double>(v[order[i]] - reference, -87.0));
    }
  }
  if (n == static_cast<int>(order.size())) rest = 0;
  return n;
}

}  // namespace

Range range_of(const std::vector<float>& v, float kept, float left, float epsilon,
               float first_reference) {
  Range range;
  const int n = static_cast<int>(v.size());
  range.must.assign(n, false);
  range.may.assign(n, false);
  double reference = std::max(kept, left);
  bool nan = std::isnan(kept) || std::isnan(left);
  for (float x : v) {
    nan = nan || std::isnan(x);
    reference = std::max<double>(reference, x);
  }
  range.unknown = nan || std::isinf(reference) || !(epsilon > 0);
  if (range.unknown) return range;
  std::vector<int> order(n);
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(),
            [&](int a, int b) { return v[a] != v[b] ? v[a] > v[b] : a < b; });
  constexpr double kSlack = 5e-3;  // rounding of estimates
  constexpr double kBin = 1.0 / 32;
  constexpr float kLowest = -24;
  constexpr float kHighest = 40;
  double rest = 0;
  const int fewest = chosen(v, order, kept, left, epsilon * (1 + kSlack), reference, rest);
  // What is below all bins counts as the lowest one does.
  std::vector<float> raised = v;
  for (float& x : raised) x = std::max(x, first_reference + kLowest + static_cast<float>(kBin));
  const double shrunk = (1 - 2 * kBin) * (1 - kSlack);
  const int most = chosen(raised, order, kept, left, epsilon * shrunk, reference, rest);
  chosen(v, order, kept, left, epsilon, reference, rest);
  range.left = reference + std::log(rest + std::exp(left - reference));
  range.must_any = fewest > 0;
  range.may_any = most > 0;
  constexpr auto kMargin = static_cast<float>(kBin) + 0.01f;
  for (int i = 0; i < n; ++i) {
    if (fewest > 0 && v[i] > v[order[fewest - 1]] + 0.01f) range.must[i] = true;
    if (most > 0 && v[i] >= raised[order[most - 1]] - kMargin) range.may[i] = true;
    if (v[i] >= first_reference + kHighest - kMargin) range.may[i] = range.may_any = true;
  }
  return range;
}

}  // namespace sinkrouter::cuda_tests
