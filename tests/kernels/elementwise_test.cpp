#include <cmath>

#include "kernels/harness.h"
#include "kernels/reference/reference.h"

namespace sinkrouter::kernel_tests {
namespace {

class Elementwise : public KernelTest {
 protected:
  int random_width() { return one_of({1, 7, 16, 64, 65, 384, 513, between(1, 3000)}); }
  int random_tokens() { return one_of({0, 1, 2, 17, between(1, 60)}); }
};

TEST_P(Elementwise, RmsNorm) {
  for (int i = 0; i < 12; ++i) {
    RmsNormParams params;
    params.tokens = random_tokens();
    params.width = random_width();
    params.epsilon = 1e-5f;
    params.weight_dtype = one_of({DType::kF32, DType::kBF16, DType::kF16});
    const std::int64_t elements = std::int64_t{params.tokens} * params.width;
    const std::vector<float> input = normals(elements, one_of({1e-3f, 1.0f, 100.0f}));
    const std::vector<std::byte> weight = stored(normals(params.width), params.weight_dtype);
    params.weight = weight.data();
    params.input = input.data();
    std::vector<float> expected(elements);
    params.output = expected.data();
    reference::rms_norm(params);
    Guarded<float> output(elements);
    params.output = output.data();
    backend().rms_norm(params);
    EXPECT_TRUE(close(output.span(), expected, 1e-6));
    EXPECT_TRUE(output.guards_intact());

    Guarded<float> in_place(elements);
    std::copy(input.begin(), input.end(), in_place.data());
    params.input = params.output = in_place.data();
    backend().rms_norm(params);
    EXPECT_TRUE(close(in_place.span(), expected, 1e-6));
    EXPECT_TRUE(in_place.guards_intact());
  }
}

// Near the smallest floats a kernel may saturate: they count as 0.
void flush_tiny(std::span<float> values) {
  for (float& value : values) {
    if (std::fabs(value) < 1e-30f) value = 0;
  }
}

TEST_P(Elementwise, Swiglu) {
  for (int i = 0; i < 12; ++i) {
    SwigluParams params;
    params.tokens = random_tokens();
    params.width = random_width();
    params.gate_stride = params.width + between(0, 9);
    params.up_stride = params.width + between(0, 9);
    std::vector<float> gate = normals(params.tokens * params.gate_stride, one_of({1.0f, 60.0f}));
    if (!gate.empty() && chance(0.5)) gate[rng.below(gate.size())] = NAN;
    const std::vector<float> up = normals(params.tokens * params.up_stride);
    params.gate = gate.data();
    params.up = up.data();
    const std::int64_t elements = std::int64_t{params.tokens} * params.width;
    std::vector<float> expected(elements);
    params.output = expected.data();
    reference::swiglu(params);
    Guarded<float> output(elements);
    params.output = output.data();
    backend().swiglu(params);
    // exp turns the rounding of its argument into a relative error that grows with the argument.
    float largest = 0;
    for (float value : gate) largest = std::fmax(largest, std::fabs(value));
    flush_tiny(expected);
    flush_tiny(output.span());
    EXPECT_TRUE(close(output.span(), expected, 1e-6 + 1.2e-7 * largest));
    EXPECT_TRUE(output.guards_intact());
  }
}

TEST_P(Elementwise, Rope) {
  for (int i = 0; i < 12; ++i) {
    RopeParams params;
    params.tokens = random_tokens();
    params.heads_per_token = between(1, 9);
    params.head_dim = one_of({2, 32, 64, 80, 96, 128});
    params.attention_factor = one_of({1.0f, 1.2f});
    std::vector<std::int32_t> positions(params.tokens);
    for (std::int32_t& position : positions) position = between(0, 130000);
    std::vector<double> frequency(params.head_dim / 2);
    for (std::size_t pair = 0; pair < frequency.size(); ++pair) {
      frequency[pair] = std::pow(5e5, -2.0 * static_cast<double>(pair) / params.head_dim);
    }
    params.positions = positions.data();
    params.inverse_frequency = frequency.data();
    std::vector<float> expected =
        normals(std::int64_t{params.tokens} * params.heads_per_token * params.head_dim);
    Guarded<float> heads(static_cast<std::int64_t>(expected.size()));
    std::copy(expected.begin(), expected.end(), heads.data());
    params.heads = expected.data();
    reference::rope(params);
    params.heads = heads.data();
    backend().rope(params);
    EXPECT_TRUE(close(heads.span(), expected, 1e-6));
    EXPECT_TRUE(heads.guards_intact());
  }
}

INSTANTIATE_TEST_SUITE_P(All, Elementwise, testing::ValuesIn(all_backends()), backend_name);

}  // namespace
}  // namespace sinkrouter::kernel_tests
