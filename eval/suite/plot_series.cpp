#include "eval/suite/plot_series.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <set>
#include <utility>

namespace sinkrouter {
namespace {

using Setting = std::pair<std::string, std::string>;

struct Policy {
  std::string text;
  std::string name;
  std::vector<Setting> settings{};

  std::string value(const std::string& setting) const {
    for (const auto& [key, value] : settings) {
      if (key == setting) return value;
    }
    return {};
  }
  // Name and settings without one of them.
  std::string without(const std::string& setting) const {
    std::string rest = name;
    for (const auto& [key, value] : settings) {
      if (key != setting) rest += fmt::format(":{}={}", key, value);
    }
    return rest;
  }
};

Policy parsed(const std::string& text) {
  std::string_view rest = text;
  const auto next = [&] {
    const std::size_t end = std::min(rest.find(':'), rest.size());
    const std::string_view part = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    return part;
  };
  Policy policy{.text = text, .name = std::string(next())};
  while (!rest.empty()) {
    const std::string_view part = next();
    const std::size_t equals = std::min(part.find('='), part.size());
    policy.settings.emplace_back(part.substr(0, equals),
                                 part.substr(std::min(equals + 1, part.size())));
  }
  return policy;
}

// The setting that takes the most values among policies of one name; empty when none varies.
std::string varied_setting(std::span<const Policy> policies, const std::string& name) {
  std::vector<std::string> settings;
  for (const Policy& policy : policies) {
    if (policy.name != name) continue;
    for (const auto& [key, value] : policy.settings) {
      if (std::find(settings.begin(), settings.end(), key) == settings.end()) {
        settings.push_back(key);
      }
    }
  }
  std::string best;
  std::size_t most = 1;
  for (const std::string& setting : settings) {
    std::set<std::string> values;
    for (const Policy& policy : policies) {
      if (policy.name == name) values.insert(policy.value(setting));
    }
    if (values.size() <= most) continue;
    most = values.size();
    best = setting;
  }
  return best;
}

struct Line {
  std::string fixed;   // name and settings that all its policies share
  std::string varied;  // setting along the line
  std::vector<const Policy*> policies{};
};

// Numbers by size; what is none, and a setting left out, before them.
double rank_of(const std::string& value) {
  double number = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  return error == std::errc() ? number : -std::numeric_limits<double>::infinity();
}

std::string label_of(const Line& line) {
  if (line.policies.size() == 1) return line.policies.front()->text;
  std::vector<std::string> values;
  for (const Policy* policy : line.policies) values.push_back(policy->value(line.varied));
  std::stable_sort(values.begin(), values.end(), [](const std::string& a, const std::string& b) {
    return rank_of(a) < rank_of(b);
  });
  const auto shown = [](const std::string& value) { return value.empty() ? "default" : value; };
  return fmt::format("{}, {} {} to {}", line.fixed, line.varied, shown(values.front()),
                     shown(values.back()));
}

}  // namespace

std::vector<PlotSeries> series_of(std::span<const std::string> policies) {
  std::vector<Policy> all;
  for (const std::string& text : policies) all.push_back(parsed(text));
  std::vector<Line> lines;
  for (const Policy& policy : all) {
    const std::string varied = varied_setting(all, policy.name);
    const std::string fixed = policy.without(varied);
    auto found = std::find_if(lines.begin(), lines.end(),
                              [&](const Line& line) { return line.fixed == fixed; });
    if (found == lines.end()) found = lines.insert(found, {.fixed = fixed, .varied = varied});
    found->policies.push_back(&policy);
  }
  std::vector<PlotSeries> series;
  for (const Line& line : lines) {
    PlotSeries& one = series.emplace_back();
    one.label = label_of(line);
    for (const Policy* policy : line.policies) one.policies.push_back(policy->text);
  }
  return series;
}

}  // namespace sinkrouter
