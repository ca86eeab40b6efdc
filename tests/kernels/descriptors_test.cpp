#include "kernels/descriptors.h"

#include <gtest/gtest.h>

#include "sinkrouter/error.h"

namespace sinkrouter {
namespace {

std::string message_of(KernelOp op, std::string_view backend, DType dtype, int head_dim,
                       int group) {
  try {
    require_kernel(op, backend, dtype, head_dim, group);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), Error::Kind::kInvalidArgument);
    return error.what();
  }
  return "";
}

TEST(Descriptors, EveryLineOfTheTableIsFound) {
  for (const KernelDescriptor& line : kernel_descriptors()) {
    const int head_dim = line.head_dim == 0 ? 4096 : line.head_dim;
    const int group = line.max_group == 0 ? 71 : line.max_group;
    EXPECT_EQ(message_of(line.op, line.backend, line.dtype, head_dim, group), "")
        << to_string(line);
  }
}

TEST(Descriptors, SaysWhatIsMissingAndWhatThereIs) {
  const std::string message = message_of(KernelOp::kDecodeAttention, "cpu", DType::kBF16, 72, 5);
  EXPECT_TRUE(message.starts_with("no cpu kernel for decode d=72 bf16 group=5; there are: "))
      << message;
  EXPECT_NE(message.find("d=64 bf16"), std::string::npos) << message;
  EXPECT_EQ(message.find('\n'), std::string::npos);
}

TEST(Descriptors, UnknownBackendHasNone) {
  EXPECT_EQ(message_of(KernelOp::kLinear, "abacus", DType::kF32, 0, 1),
            "no abacus kernel for linear d=0 f32 group=1; there are: none");
}

TEST(Descriptors, PrintsOneLine) {
  const KernelDescriptor line{KernelOp::kPrefillAttention, "cpu", DType::kF32, 96, 8};
  EXPECT_EQ(to_string(line), "cpu prefill d=96 f32 group<=8");
}

}  // namespace
}  // namespace sinkrouter
