#pragma once

#include <span>
#include <vector>

namespace sinkrouter {

// Attention of one q head in double precision. Rows of keys and values are [rows, head_dim].

void softmax(std::span<const double> logits, std::span<double> masses);
// sum_i masses_i values_i
void weighted_sum(std::span<const double> masses, std::span<const float> values,
                  std::span<double> sum);
// keys_i . direction
void dot_products(std::span<const float> keys, std::span<const double> direction,
                  std::span<double> products);

double norm(std::span<const double> vector);
double norm(std::span<const float> vector);
double distance(std::span<const double> a, std::span<const double> b);

}  // namespace sinkrouter
