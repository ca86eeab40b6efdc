#include <algorithm>
#include <cmath>
#include <sstream>

#include "kernels/harness.h"
#include "kernels/reference/reference.h"

namespace sinkrouter::kernel_tests {
namespace {

class Linear : public KernelTest {
 protected:
  // Rounding follows the size of the summed products, which few outputs may happen to cancel: how
  // much smaller they are than sums of that many independent normals, at least 1.
  static double cancellation(const std::vector<float>& expected, int inputs) {
    double norm = 0;
    for (float value : expected) norm += double{value} * value;
    return std::max(1.0, std::sqrt(inputs * static_cast<double>(expected.size()) / norm));
  }

  void check(LinearParams params) {
    std::ostringstream text;
    text << name(params.weight_dtype) << " tokens=" << params.tokens << " inputs=" << params.inputs
         << " outputs=" << params.outputs << " accumulate=" << params.accumulate;
    SCOPED_TRACE(text.str());
    const std::vector<float> input = normals(std::int64_t{params.tokens} * params.inputs);
    const std::vector<std::byte> weight =
        stored(normals(std::int64_t{params.outputs} * params.inputs), params.weight_dtype);
    params.input = input.data();
    params.weight = weight.data();
    std::vector<float> expected = normals(std::int64_t{params.tokens} * params.outputs);
    Guarded<float> output(static_cast<std::int64_t>(expected.size()));
    if (params.accumulate) std::copy(expected.begin(), expected.end(), output.data());
    params.output = expected.data();
    reference::linear(params);
    params.output = output.data();
    backend().linear(params);
    EXPECT_TRUE(close(output.span(), expected, 2e-6 * cancellation(expected, params.inputs)));
    EXPECT_TRUE(output.guards_intact());
  }

  LinearParams random_case() {
    LinearParams params;
    params.weight_dtype = one_of({DType::kF32, DType::kBF16, DType::kF16});
    params.tokens = one_of({1, 2, 3, 4, 5, 16, 17, between(18, 70)});
    params.inputs = one_of({1, 5, 64, 67, 384, between(1, 500)});
    params.outputs = one_of({1, 3, 4, 30, 64, 131, between(1, 400)});
    params.accumulate = chance(0.5);
    return params;
  }
};

TEST_P(Linear, MatchesReference) {
  for (int i = 0; i < 16; ++i) check(random_case());
}

TEST_P(Linear, ManyPanels) {
  LinearParams params = random_case();
  params.tokens = 20;
  params.inputs = 256;
  params.outputs = 1000;
  for (DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    params.weight_dtype = dtype;
    check(params);
  }
}

INSTANTIATE_TEST_SUITE_P(All, Linear, testing::ValuesIn(all_backends()), backend_name);

}  // namespace
}  // namespace sinkrouter::kernel_tests
