#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "base/check.h"
#include "base/rng.h"
#include "sinkrouter/generate.h"

namespace sinkrouter {

void validate(const SamplingOptions& options) {
  SR_CHECK(std::isfinite(options.temperature) && options.temperature >= 0, kInvalidArgument,
           "temperature {} is out of range: expected 0 (greedy) or more", options.temperature);
  SR_CHECK(options.top_k >= 0, kInvalidArgument,
           "top-k {} is out of range: expected 0 (off) or more", options.top_k);
  SR_CHECK(options.top_p > 0 && options.top_p <= 1, kInvalidArgument,
           "top-p {} is out of range: expected more than 0 and at most 1", options.top_p);
}

struct Sampler::Impl {
  SamplingOptions options;
  Rng rng;
  std::vector<int> order;       // [vocab_size], token ids by falling logit as far as needed
  std::vector<double> weights;  // [vocab_size], unnormalised probabilities in that order

  Impl(const SamplingOptions& sampling, int vocab_size)
      : options(sampling), rng(sampling.seed), order(vocab_size), weights(vocab_size) {}

  int draw(std::span<const float> logits);
  std::size_t keep_top_p(std::size_t kept) const;
};

Sampler::Sampler(const SamplingOptions& options, int vocab_size) {
  validate(options);
  SR_CHECK(vocab_size > 0, kInvalidArgument, "vocabulary size {} is out of range", vocab_size);
  impl_ = std::make_unique<Impl>(options, vocab_size);
}
Sampler::~Sampler() = default;
Sampler::Sampler(Sampler&&) noexcept = default;
Sampler& Sampler::operator=(Sampler&&) noexcept = default;

int Sampler::sample(std::span<const float> logits) {
  SR_ASSERT(logits.size() == impl_->order.size());
  const auto best = std::max_element(logits.begin(), logits.end());
  const bool usable = std::isfinite(*best);
  if (!usable || impl_->options.temperature == 0) return static_cast<int>(best - logits.begin());
  return impl_->draw(logits);
}

int Sampler::Impl::draw(std::span<const float> logits) {
  std::iota(order.begin(), order.end(), 0);
  std::size_t kept = logits.size();
  if (options.top_k > 0) kept = std::min<std::size_t>(kept, options.top_k);
  const bool ranked = kept < logits.size() || options.top_p < 1;
  if (ranked) {
    // Ties go to the lower id, so that the draw depends on nothing but logits and seed.
    std::partial_sort(
        order.begin(), order.begin() + static_cast<std::ptrdiff_t>(kept), order.end(),
        [&](int a, int b) { return logits[a] != logits[b] ? logits[a] > logits[b] : a < b; });
  }
  const double top = *std::max_element(logits.begin(), logits.end());
  for (std::size_t i = 0; i < kept; ++i) {
    const double exponent = (logits[order[i]] - top) / options.temperature;
    weights[i] = std::isnan(exponent) ? 0.0 : std::exp(exponent);
  }
  if (options.top_p < 1) kept = keep_top_p(kept);

  double left =
      rng.uniform() *
      std::accumulate(weights.begin(), weights.begin() + static_cast<std::ptrdiff_t>(kept), 0.0);
  for (std::size_t i = 0; i < kept; ++i) {
    left -= weights[i];
    if (left < 0) return order[i];
  }
  return order[kept - 1];
}

// The fewest of the first `kept` whose weights reach top_p of their sum.
std::size_t Sampler::Impl::keep_top_p(std::size_t kept) const {
  const auto end = weights.begin() + static_cast<std::ptrdiff_t>(kept);
  const double wanted = options.top_p * std::accumulate(weights.begin(), end, 0.0);
  double sum = 0;
  for (std::size_t i = 0; i < kept; ++i) {
    sum += weights[i];
    if (sum >= wanted) return i + 1;
  }
  return kept;
}

}  // namespace sinkrouter
