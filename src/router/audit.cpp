#include "router/audit.h"

#include <algorithm>
#include <cmath>

namespace sinkrouter {
namespace {

constexpr std::uint64_t kSeed = 0x6175646974ull;
constexpr double kOutputShare = 1.0 / 16;  // of audits
constexpr float kCommonRate = 0.4f;
constexpr float kOwnRate = 0.1f;
constexpr float kMostTightening = -5.0f;  // logarithm

float moved(float value, float rate, float target, float violated) {
  return std::clamp(value + rate * (target - violated), kMostTightening, 0.0f);
}

}  // namespace

void Audit::Sums::add(float epsilon, std::span<const float> unread_masses,
                      std::span<const float> output_errors) {
  for (float mass : unread_masses) {
    if (std::isnan(mass)) mass = 1.0f;
    ++decisions;
    if (mass > epsilon) ++violations;
    unread_mass += mass;
    largest = std::max(largest, double{mass});
  }
  for (const float error : output_errors) {
    ++outputs;
    output_error += error;
  }
}

AuditedHead Audit::Sums::report(double tightening) const {
  AuditedHead head;
  head.decisions = decisions;
  head.violations = violations;
  head.unread_mass = decisions == 0 ? 0 : unread_mass / static_cast<double>(decisions);
  head.largest_unread_mass = largest;
  head.outputs = outputs;
  head.output_error = outputs == 0 ? 0 : output_error / static_cast<double>(outputs);
  head.tightening = tightening;
  return head;
}

Audit::Audit(int layers, int kv_heads, float target)
    : kv_heads_(kv_heads),
      target_(target),
      own_(static_cast<std::size_t>(layers) * kv_heads, 0.0f),
      sums_(own_.size()),
      rng_(kSeed) {}

bool Audit::draws(float share) { return rng_.uniform() < share; }

bool Audit::draws_output() { return rng_.uniform() < kOutputShare; }

float Audit::tightening(int layer, int kv_head) const {
  return std::exp(std::max(common_ + own_[index(layer, kv_head)], kMostTightening));
}

void Audit::record(int layer, int kv_head, float epsilon, std::span<const float> unread_masses,
                   std::span<const float> output_errors) {
  if (unread_masses.empty()) return;
  const auto broken =
      std::ranges::count_if(unread_masses, [&](float mass) { return !(mass <= epsilon); });
  const float violated = static_cast<float>(broken) / static_cast<float>(unread_masses.size());
  common_ = moved(common_, kCommonRate, target_, violated);
  float& own = own_[index(layer, kv_head)];
  own = moved(own, kOwnRate, target_, violated);
  total_.add(epsilon, unread_masses, output_errors);
  sums_[index(layer, kv_head)].add(epsilon, unread_masses, output_errors);
}

AuditSummary Audit::summary() const {
  AuditSummary summary;
  summary.total = total_.report(std::exp(double{common_}));
  for (std::size_t i = 0; i < sums_.size(); ++i) {
    const int layer = static_cast<int>(i) / kv_heads_;
    const int kv_head = static_cast<int>(i) % kv_heads_;
    AuditedHead head = sums_[i].report(tightening(layer, kv_head));
    head.layer = layer;
    head.kv_head = kv_head;
    summary.heads.push_back(head);
  }
  return summary;
}

void Audit::reset() {
  total_ = {};
  std::ranges::fill(sums_, Sums{});
}

}  // namespace sinkrouter
