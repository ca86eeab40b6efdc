#include "sinkrouter/policy.h"

#include <algorithm>
#include <array>

#include "base/block_size.h"
#include "base/check.h"

namespace sinkrouter {
namespace {

constexpr std::array kKinds = {PolicyKind::kDense,  PolicyKind::kMargin,    PolicyKind::kRoute,
                               PolicyKind::kCosine, PolicyKind::kStreaming, PolicyKind::kCertified,
                               PolicyKind::kQuest,  PolicyKind::kOracle};
constexpr int kMaxWindow = 1 << 20;

}  // namespace

std::string_view name(PolicyKind kind) {
  switch (kind) {
    case PolicyKind::kDense:
      return "dense";
    case PolicyKind::kMargin:
      return "margin";
    case PolicyKind::kRoute:
      return "route";
    case PolicyKind::kCosine:
      return "cosine";
    case PolicyKind::kStreaming:
      return "streaming";
    case PolicyKind::kCertified:
      return "certified";
    case PolicyKind::kQuest:
      return "quest";
    case PolicyKind::kOracle:
      return "oracle";
  }
  SR_ASSERT(false);
}

PolicyKind parse_policy(std::string_view text) {
  for (PolicyKind kind : kKinds) {
    if (text == name(kind)) return kind;
  }
  throw Error(
      Error::Kind::kInvalidArgument,
      fmt::format(
          "unknown policy '{}': expected dense, margin, route, cosine, streaming, certified, "
          "quest or oracle",
          text));
}

void validate(const PolicyOptions& options, int page_size) {
  SR_CHECK(options.epsilon >= 0.0f && options.epsilon < 1.0f, kInvalidArgument,
           "epsilon is {}: expected a number in [0, 1)", options.epsilon);
  SR_CHECK(options.window >= 1 && options.window <= kMaxWindow, kInvalidArgument,
           "window is {}: expected 1 to {} tokens", options.window, kMaxWindow);
  SR_CHECK(options.tau >= -1.0f && options.tau <= 1.0f, kInvalidArgument,
           "tau is {}: expected a number in [-1, 1]", options.tau);
  SR_CHECK(options.granule >= 1 && page_size >= 1 && page_size % options.granule == 0,
           kInvalidArgument, "granule is {}: expected a divisor of the page size, {}",
           options.granule, page_size);
  SR_CHECK(options.audit_share >= 0.0f && options.audit_share <= 1.0f, kInvalidArgument,
           "audit_share is {}: expected a number in [0, 1]", options.audit_share);
  SR_CHECK(options.block_share > 0.0f && options.block_share <= 1.0f, kInvalidArgument,
           "block_share is {}: expected a number in (0, 1]", options.block_share);
  SR_CHECK(options.budget > 0.0f && options.budget <= 1.0f, kInvalidArgument,
           "budget is {}: expected a number in (0, 1]", options.budget);
  const bool estimates_blocks = options.kind == PolicyKind::kMargin ||
                                options.kind == PolicyKind::kRoute ||
                                options.kind == PolicyKind::kQuest;
  SR_CHECK(!estimates_blocks || options.granule == 1 || options.granule % kBlockSize == 0,
           kInvalidArgument, "granule is {}: policy {} works on rows (1) or multiples of {} rows",
           options.granule, name(options.kind), kBlockSize);
}

int needed_sketch_bits(std::span<const PolicyOptions> policies) {
  constexpr int kFewest = 2;  // enough for margin
  const bool certifies = std::any_of(policies.begin(), policies.end(), [](const auto& policy) {
    return policy.kind == PolicyKind::kCertified;
  });
  return certifies ? 4 : kFewest;
}

bool needs_key_boxes(std::span<const PolicyOptions> policies) {
  return std::any_of(policies.begin(), policies.end(),
                     [](const auto& policy) { return policy.kind == PolicyKind::kQuest; });
}

}  // namespace sinkrouter
