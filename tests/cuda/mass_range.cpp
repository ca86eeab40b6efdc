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

Range range_of(const std::vector<float>& v, float kept, float left, float epsilon) {
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
  constexpr double kSlack = 2e-3;
  double rest = 0;
  const int fewest = chosen(v, order, kept, left, epsilon * (1 + kSlack), reference, rest);
  const int most = chosen(v, order, kept, left, epsilon * (1 - kSlack), reference, rest);
  chosen(v, order, kept, left, epsilon, reference, rest);
  range.left = reference + std::log(rest);
  range.must_any = fewest > 0;
  range.may_any = most > 0;
  for (int i = 0; i < n; ++i) {
    if (fewest > 0 && v[i] > v[order[fewest - 1]] + 1e-4f) range.must[i] = true;
    if (most > 0 && v[i] >= v[order[most - 1]] - 1e-4f) range.may[i] = true;
  }
  // Among equals the lower index comes first, or all come.
  return range;
}

}  // namespace sinkrouter::cuda_tests
