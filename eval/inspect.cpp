#include "sinkrouter/inspect.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "eval/fixed_point/observer.h"
#include "eval/observer_guard.h"
#include "eval/row_masses.h"
#include "eval/tokens.h"

namespace sinkrouter {
namespace {

constexpr int kSinkBlock = 32;
constexpr double kLeastSinkMass = 0.01;
// Of the time, for the progress.
constexpr double kPrefillShare = 0.5;
constexpr double kMapsShare = 0.05;

struct HeadTotals {
  double sink_mass = 0;
  double sink_block_mass = 0;
  std::int64_t sunk = 0;
  double unread_mass = 0;
  double unread_mass_max = 0;
  std::int64_t over_epsilon = 0;
};

struct GroupTotals {
  std::int64_t routed = 0;
  double read_share = 0;
  std::vector<double> row_mass;  // [context], summed over q heads and observations
};

// Adds up what the observer sees.
class Totals {
 public:
  Totals(const ModelInfo& model, int context, float epsilon)
      : group_size_(model.q_heads / model.kv_heads),
        q_heads_(model.q_heads),
        kv_heads_(model.kv_heads),
        epsilon_(epsilon),
        heads_(static_cast<std::size_t>(model.layers) * model.q_heads),
        groups_(static_cast<std::size_t>(model.layers) * model.kv_heads),
        masses_(context) {
    for (GroupTotals& group : groups_) group.row_mass.resize(static_cast<std::size_t>(context));
  }

  const std::vector<HeadTotals>& heads() const { return heads_; }             // [layers * q_heads]
  const std::vector<GroupTotals>& groups() const { return groups_; }          // [layers * kv_heads]
  const std::vector<float>& unread_masses() const { return unread_masses_; }  // one per decision

  void observe(const AttentionObservation& seen) {
    for (int kv_head = 0; kv_head < kv_heads_; ++kv_head) {
      GroupTotals& group = groups_[static_cast<std::size_t>(seen.layer) * kv_heads_ + kv_head];
      group.routed += seen.routed[kv_head] != 0 ? 1 : 0;
      group.read_share += static_cast<double>(rows_on_list(seen, kv_head)) / seen.length;
      for (int i = 0; i < group_size_; ++i) {
        const int head = kv_head * group_size_ + i;
        observe_head(seen, kv_head, head, group,
                     heads_[static_cast<std::size_t>(seen.layer) * q_heads_ + head]);
      }
    }
  }

 private:
  void observe_head(const AttentionObservation& seen, int kv_head, int head, GroupTotals& group,
                    HeadTotals& totals) {
    masses_.fill(seen, head);
    const std::span<const float> rows = masses_.rows();
    for (std::size_t row = 0; row < rows.size(); ++row) group.row_mass[row] += rows[row];
    for (int row = 0; row < std::min(kSinkBlock, seen.length); ++row) {
      totals.sink_block_mass += rows[row];
    }
    const double unread = masses_.unread(seen, kv_head);
    totals.sink_mass += rows[0];
    totals.sunk += rows[0] > kDormantMass ? 1 : 0;
    totals.unread_mass += unread;
    totals.unread_mass_max = std::max(totals.unread_mass_max, unread);
    totals.over_epsilon += unread > epsilon_ ? 1 : 0;
    unread_masses_.push_back(static_cast<float>(unread));
  }

  int group_size_;
  int q_heads_;
  int kv_heads_;
  float epsilon_;

  std::vector<HeadTotals> heads_;
  std::vector<GroupTotals> groups_;
  std::vector<float> unread_masses_;
  RowMasses masses_;  // of the head at hand
};

std::vector<SinkReport> find_sinks(const Engine& engine, std::span<const int> text,
                                   const Totals& totals, const InspectOptions& options) {
  const ModelInfo& model = engine.info();
  const double weight = 1.0 / (options.tokens * (model.q_heads / model.kv_heads));
  // The observed tokens themselves and their window are recent, not sinks.
  const int last =
      std::max(1, static_cast<int>(text.size()) - options.tokens - options.policy.window);
  std::vector<SinkReport> sinks;
  std::vector<int> order;
  for (int layer = 0; layer < model.layers; ++layer) {
    for (int kv_head = 0; kv_head < model.kv_heads; ++kv_head) {
      const std::vector<double>& mass =
          totals.groups()[static_cast<std::size_t>(layer) * model.kv_heads + kv_head].row_mass;
      order.clear();
      for (int row = 0; row < last; ++row) {
        if (mass[row] * weight >= kLeastSinkMass) order.push_back(row);
      }
      std::sort(order.begin(), order.end(), [&](int a, int b) { return mass[a] > mass[b]; });
      if (static_cast<int>(order.size()) > options.sinks_per_group) {
        order.resize(static_cast<std::size_t>(options.sinks_per_group));
      }
      for (int row : order) {
        sinks.push_back({.layer = layer,
                         .kv_head = kv_head,
                         .position = row,
                         .token = token_text(engine.tokenizer(), text[row]),
                         .mass = mass[row] * weight});
      }
    }
  }
  return sinks;
}

AuditReport audit(std::vector<float> unread, float epsilon) {
  AuditReport report{.decisions = static_cast<std::int64_t>(unread.size())};
  if (unread.empty()) return report;
  double total = 0;
  std::int64_t over = 0;
  for (float mass : unread) {
    total += mass;
    over += mass > epsilon ? 1 : 0;
  }
  const auto p95 = unread.begin() + static_cast<std::ptrdiff_t>(0.95 * (unread.size() - 1));
  std::nth_element(unread.begin(), p95, unread.end());
  report.unread_mass_p95 = *p95;
  report.unread_mass_max = *std::max_element(p95, unread.end());
  report.unread_mass_mean = total / static_cast<double>(unread.size());
  report.over_epsilon = static_cast<double>(over) / static_cast<double>(unread.size());
  return report;
}

void fill_heads(InspectReport& report, const Totals& totals) {
  const int group_size = report.model.q_heads / report.model.kv_heads;
  const double tokens = report.tokens;
  std::int64_t sunk = 0;
  for (std::size_t i = 0; i < totals.heads().size(); ++i) {
    const HeadTotals& head = totals.heads()[i];
    const int index = static_cast<int>(i) % report.model.q_heads;
    sunk += head.sunk;
    report.heads.push_back({.layer = static_cast<int>(i) / report.model.q_heads,
                            .head = index,
                            .kv_head = index / group_size,
                            .sink_mass = head.sink_mass / tokens,
                            .sink_block_mass = head.sink_block_mass / tokens,
                            .sunk_share = static_cast<double>(head.sunk) / tokens,
                            .unread_mass = head.unread_mass / tokens,
                            .unread_mass_max = head.unread_mass_max,
                            .over_epsilon = static_cast<double>(head.over_epsilon) / tokens});
  }
  for (std::size_t i = 0; i < totals.groups().size(); ++i) {
    const GroupTotals& group = totals.groups()[i];
    report.groups.push_back({.layer = static_cast<int>(i) / report.model.kv_heads,
                             .kv_head = static_cast<int>(i) % report.model.kv_heads,
                             .routed_share = static_cast<double>(group.routed) / tokens,
                             .read_share = group.read_share / tokens});
  }
  report.sunk_share =
      static_cast<double>(sunk) / (tokens * static_cast<double>(totals.heads().size()));
}

}  // namespace

InspectReport inspect(Engine& engine, std::span<const int> text, const InspectOptions& options,
                      const Progress& progress) {
  const int context = static_cast<int>(text.size());
  SR_CHECK(options.tokens >= 1, kInvalidArgument, "tokens is {}; it must be at least 1",
           options.tokens);
  SR_CHECK(context > options.tokens, kInvalidArgument,
           "the text has {} tokens; it must have more than the {} to observe", context,
           options.tokens);
  if (options.fixed_point) validate(*options.fixed_point);
  const auto report_progress = [&](std::string_view what, double done) {
    if (progress) progress(what, done);
  };
  Sequence sequence = engine.create_sequence();
  const std::size_t first = text.size() - static_cast<std::size_t>(options.tokens);
  engine.prefill(sequence, text.first(first), [&](std::int64_t done, std::int64_t total) {
    report_progress("prefill",
                    kPrefillShare * static_cast<double>(done) / static_cast<double>(total));
  });

  Totals totals(engine.info(), context, options.policy.epsilon);
  std::optional<FixedPointObserver> fixed_point;
  double prepared = kPrefillShare;
  if (options.fixed_point) {
    fixed_point.emplace(engine, *options.fixed_point, options.policy.window, context,
                        options.tokens, [&](std::string_view what, double done) {
                          report_progress(what, kPrefillShare + kMapsShare * done);
                        });
    prepared += kMapsShare;
  }
  engine.reset_read_stats();
  {
    const ObserverGuard guard(engine, [&](const AttentionObservation& seen) {
      totals.observe(seen);
      if (fixed_point) fixed_point->observe(seen);
    });
    Sequence* const sequences[] = {&sequence};
    for (std::size_t at = first; at < text.size(); ++at) {
      engine.decode(sequences, text.subspan(at, 1), options.policy);
      report_progress("observing", prepared + (1 - prepared) * static_cast<double>(at + 1 - first) /
                                                  options.tokens);
    }
  }
  InspectReport report{.model = engine.info(),
                       .device = engine.description(),
                       .policy = options.policy,
                       .context = context,
                       .tokens = options.tokens,
                       .reads = engine.read_stats()};
  fill_heads(report, totals);
  report.sinks = find_sinks(engine, text, totals, options);
  report.pinned = engine.pinned_sinks(sequence);
  report.audit = audit(totals.unread_masses(), options.policy.epsilon);
  report.engine_audit = engine.audit();
  if (fixed_point) report.fixed_point = fixed_point->report();
  return report;
}

}  // namespace sinkrouter
