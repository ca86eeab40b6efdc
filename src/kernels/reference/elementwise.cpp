#include <cmath>

#include "kernels/reference/reference.h"
#include "kernels/reference/rows.h"

namespace sinkrouter::reference {

void rms_norm(const RmsNormParams& params) {
  for (int token = 0; token < params.tokens; ++token) {
    const float* input = params.input + std::int64_t{token} * params.width;
    float* output = params.output + std::int64_t{token} * params.width;
    double squares = 0;
    for (int i = 0; i < params.width; ++i) squares += double{input[i]} * input[i];
    const double inverse = 1.0 / std::sqrt(squares / params.width + params.epsilon);
    for (int i = 0; i < params.width; ++i) {
      output[i] =
          static_cast<float>(input[i] * inverse * element(params.weight, params.weight_dtype, i));
    }
  }
}

void rope(const RopeParams& params) {
  const int half = params.head_dim / 2;
  for (int token = 0; token < params.tokens; ++token) {
    for (int head = 0; head < params.heads_per_token; ++head) {
      float* x =
          params.heads + (std::int64_t{token} * params.heads_per_token + head) * params.head_dim;
      for (int i = 0; i < half; ++i) {
        const double angle = params.positions[token] * params.inverse_frequency[i];
        const double cosine = std::cos(angle) * params.attention_factor;
        const double sine = std::sin(angle) * params.attention_factor;
        const double low = x[i];
        const double high = x[i + half];
        x[i] = static_cast<float>(low * cosine - high * sine);
        x[i + half] = static_cast<float>(high * cosine + low * sine);
      }
    }
  }
}

void swiglu(const SwigluParams& params) {
  for (int token = 0; token < params.tokens; ++token) {
    for (int i = 0; i < params.width; ++i) {
      const double gate = params.gate[token * params.gate_stride + i];
      const double up = params.up[token * params.up_stride + i];
      params.output[std::int64_t{token} * params.width + i] =
          static_cast<float>(gate / (1.0 + std::exp(-gate)) * up);
    }
  }
}

void linear(const LinearParams& params) {
  for (int token = 0; token < params.tokens; ++token) {
    const float* input = params.input + std::int64_t{token} * params.inputs;
    for (int out = 0; out < params.outputs; ++out) {
      float& result = params.output[std::int64_t{token} * params.outputs + out];
      const double product = dot(input, params.weight, params.weight_dtype,
                                 std::int64_t{out} * params.inputs, params.inputs);
      result = static_cast<float>(params.accumulate ? result + product : product);
    }
  }
}

}  // namespace sinkrouter::reference
