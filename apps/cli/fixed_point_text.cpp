#include "fixed_point_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "table.h"

namespace sinkrouter::cli {
namespace {

std::string spread(const Spread& spread) {
  return fmt::format("{:.2g} / {:.2g}", spread.median, spread.p95);
}

// Means over the heads of a layer; what dormant and awake decisions add is weighted by how many
// there are.
std::string reach_table(const FixedPointReport& report) {
  Table table({"reachable: layer", "dormant", "sink mass", "|v_0| / mean |v|", "|W_O v_0| / mean",
               "sink adds", "dormant adds", "awake adds"});
  for (std::size_t layer = 0; layer < report.residual_norms.size(); ++layer) {
    double heads = 0;
    double dormant = 0;
    double dormant_adds = 0;
    double awake_adds = 0;
    HeadEffect sum;
    for (const HeadEffect& head : report.heads) {
      if (static_cast<std::size_t>(head.layer) != layer) continue;
      heads += 1;
      dormant += head.dormant_share;
      sum.sink_value_of_mean += head.sink_value_of_mean;
      sum.sink_of_mean += head.sink_of_mean;
      sum.sink_mass += head.sink_mass;
      sum.sink_of_residual += head.sink_of_residual;
      dormant_adds += head.dormant_of_residual.value_or(0) * head.dormant_share;
      awake_adds += head.awake_of_residual.value_or(0) * (1 - head.dormant_share);
    }
    const auto mean = [](double total, double weight) {
      return weight > 0 ? fmt::format("{:.4f}", total / weight) : std::string("-");
    };
    table.add({fmt::format("{}", layer), percent(dormant / heads), mean(sum.sink_mass, heads),
               mean(sum.sink_value_of_mean, heads), mean(sum.sink_of_mean, heads),
               mean(sum.sink_of_residual, heads), mean(dormant_adds, dormant),
               mean(awake_adds, heads - dormant)});
  }
  return table.text();
}

std::string noise_table(const FixedPointReport& report) {
  if (report.noise.empty() || report.noise.front().decisions == 0) {
    return "stable: no dormant decision to perturb\n";
  }
  Table table({"stable: noise", "size", "sink mass moves", "output moves", "still dormant"});
  for (const NoiseEffect& noise : report.noise) {
    table.add({std::string(name(noise.direction)), fmt::format("{:g}", noise.size),
               spread(noise.sink_mass), spread(noise.output), percent(noise.still_dormant)});
  }
  return table.text();
}

void add_check(Table& table, const ErrorControl& control, const BoundCheck& check,
               std::string_view place) {
  table.add({fmt::format("{}, {}", name(control.rows), place), fmt::format("{}", check.decisions),
             check.decisions == 0 ? "-" : percent(check.within_bound), spread(control.unread_mass),
             spread(check.bound), spread(check.error), spread(check.ratio),
             fmt::format("{:.3f}", check.largest_ratio)});
}

std::string error_table(const FixedPointReport& report) {
  Table table({"error-controllable: read", "decisions", "within bound", "unread mass", "bound",
               "error", "error / bound", "largest"});
  for (const ErrorControl& control : report.errors) {
    add_check(table, control, control.output, "output");
    add_check(table, control, control.stream, "stream");
  }
  return table.text();
}

}  // namespace

std::string to_text(const FixedPointReport& report) {
  return fmt::format(
      "the sink as a fixed point, {} tokens, {} of decisions dormant (over {:g} sink mass);\n"
      "pairs are median / 95th percentile; outputs are over the mean value norm, what is added "
      "and\n"
      "errors in the stream over the norm of the residual stream\n\n"
      "{}\n{}\n{}",
      report.tokens, percent(report.dormant_share), kDormantMass, reach_table(report),
      noise_table(report), error_table(report));
}

}  // namespace sinkrouter::cli
