#include "policy_spec.h"

#include <fmt/format.h>

#include <charconv>

#include "sinkrouter/error.h"

namespace sinkrouter::cli {
namespace {

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (;;) {
    const std::size_t end = text.find(separator);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

[[noreturn]] void fail(const std::string& message) {
  throw Error(Error::Kind::kInvalidArgument, message);
}

template <typename T>
T number(std::string_view setting, std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    fail(fmt::format("policy setting {}: '{}' is not a number", setting, text));
  }
  return value;
}

void apply(PolicyOptions& policy, std::string_view assignment) {
  const std::size_t equals = assignment.find('=');
  if (equals == std::string_view::npos) {
    fail(fmt::format("policy setting '{}': write SETTING=VALUE, for example epsilon=0.05",
                     assignment));
  }
  const std::string_view setting = assignment.substr(0, equals);
  const std::string_view value = assignment.substr(equals + 1);
  if (setting == "epsilon") {
    policy.epsilon = number<float>(setting, value);
  } else if (setting == "window") {
    policy.window = number<int>(setting, value);
  } else if (setting == "granule") {
    policy.granule = number<int>(setting, value);
  } else if (setting == "block_share") {
    policy.block_share = number<float>(setting, value);
  } else if (setting == "audit") {
    policy.audit_share = number<float>(setting, value);
  } else if (setting == "tau") {
    policy.tau = number<float>(setting, value);
  } else if (setting == "budget") {
    policy.budget = number<float>(setting, value);
  } else {
    fail(
        fmt::format("unknown policy setting '{}'; there are: epsilon, window, granule, "
                    "block_share, audit, tau, budget",
                    setting));
  }
}

}  // namespace

std::vector<PolicyOptions> parse_policies(std::string_view text, const PolicyOptions& defaults) {
  std::vector<PolicyOptions> policies;
  for (std::string_view one : split(text, ',')) {
    const std::vector<std::string_view> parts = split(one, ':');
    PolicyOptions policy = defaults;
    policy.kind = parse_policy(parts[0]);
    for (std::size_t i = 1; i < parts.size(); ++i) apply(policy, parts[i]);
    policies.push_back(policy);
  }
  return policies;
}

std::string to_spec(const PolicyOptions& policy) {
  std::string spec(name(policy.kind));
  if (policy.kind == PolicyKind::kDense) return spec;
  const PolicyOptions defaults;
  switch (policy.kind) {
    case PolicyKind::kMargin:
    case PolicyKind::kRoute:
    case PolicyKind::kOracle:
      spec += fmt::format(":epsilon={:g}", policy.epsilon);
      if (policy.granule != defaults.granule) spec += fmt::format(":granule={}", policy.granule);
      if (policy.audit_share != defaults.audit_share) {
        spec += fmt::format(":audit={:g}", policy.audit_share);
      }
      if (policy.block_share != defaults.block_share) {
        spec += fmt::format(":block_share={:g}", policy.block_share);
      }
      break;
    case PolicyKind::kCertified:
      spec += fmt::format(":epsilon={:g}", policy.epsilon);
      break;
    case PolicyKind::kCosine:
      spec += fmt::format(":tau={:g}", policy.tau);
      break;
    case PolicyKind::kQuest:
      spec += fmt::format(":budget={:g}", policy.budget);
      if (policy.granule != defaults.granule) spec += fmt::format(":granule={}", policy.granule);
      break;
    case PolicyKind::kDense:
    case PolicyKind::kStreaming:
      break;
  }
  if (policy.window != defaults.window) spec += fmt::format(":window={}", policy.window);
  return spec;
}

}  // namespace sinkrouter::cli
