#include <algorithm>
#include <cmath>
#include <numeric>
#include <tuple>

#include "base/check.h"
#include "eval/suite/cells.h"
#include "sinkrouter/suite.h"

namespace sinkrouter {
namespace {

double score_of(SuiteTask task, std::span<const double> scores) {
  if (scores.empty()) return 0;
  const double mean =
      std::accumulate(scores.begin(), scores.end(), 0.0) / static_cast<double>(scores.size());
  return is_perplexity(task) ? std::exp(mean) : mean;
}

}  // namespace

double SuiteCell::score() const { return score_of(task, scores); }

double SuiteResult::dense_score(const SuiteCell& cell) const {
  const SuiteCell* dense = find_cell(*this, cell.task, cell.context, cell.mode, kSuiteDense);
  // Dense attention runs first, on every document.
  SR_ASSERT(dense != nullptr && dense->scores.size() >= cell.scores.size());
  return score_of(cell.task, std::span(dense->scores).first(cell.scores.size()));
}

const SuiteCell* find_cell(const SuiteResult& result, SuiteTask task, int context, SuiteMode mode,
                           std::string_view policy) {
  for (const SuiteCell& cell : result.cells) {
    if (cell.task == task && cell.context == context && cell.mode == mode &&
        cell.policy == policy) {
      return &cell;
    }
  }
  return nullptr;
}

SuiteCell& cell_of(SuiteResult& result, SuiteTask task, int context, SuiteMode mode,
                   std::string_view policy) {
  const SuiteCell* found = find_cell(result, task, context, mode, policy);
  if (found != nullptr) return result.cells[static_cast<std::size_t>(found - result.cells.data())];
  SuiteCell added{.task = task, .context = context, .mode = mode, .policy = std::string(policy)};
  const auto place = [](const SuiteCell& cell) {
    return std::tuple(cell.task, cell.context, cell.mode, cell.policy != kSuiteDense);
  };
  const auto at =
      std::upper_bound(result.cells.begin(), result.cells.end(), added,
                       [&](const SuiteCell& a, const SuiteCell& b) { return place(a) < place(b); });
  return *result.cells.insert(at, std::move(added));
}

}  // namespace sinkrouter
