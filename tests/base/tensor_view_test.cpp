#include "base/tensor_view.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace sinkrouter {
namespace {

TEST(TensorView, CountsElementsAndBytes) {
  std::vector<BFloat16> data(2 * 3 * 4);
  const TensorView view(data.data(), DType::kBF16, {2, 3, 4});
  EXPECT_EQ(view.rank, 3);
  EXPECT_EQ(view.elements(), 24);
  EXPECT_EQ(view.bytes(), 48);
  EXPECT_EQ(view.as<BFloat16>(), data.data());
}

TEST(TensorView, EmptyAxisHasNoElementsAndNoAxisHasOne) {
  EXPECT_EQ(TensorView(nullptr, DType::kF32, {5, 0}).elements(), 0);
  EXPECT_EQ(TensorView().elements(), 1);
}

TEST(TensorView, SizesBeyond32BitsAreExact) {
  const TensorView view(nullptr, DType::kF32, {128256, 65536, 2});
  EXPECT_EQ(view.elements(), 128256LL * 65536 * 2);
  EXPECT_EQ(view.bytes(), 128256LL * 65536 * 2 * 4);
}

TEST(TensorView, WrongTypeAndTooManyAxesAreInternalErrors) {
  const TensorView view(nullptr, DType::kF16, {1});
  try {
    view.as<BFloat16>();
    ADD_FAILURE() << "f16 read as bf16";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), Error::Kind::kInternal);
    EXPECT_NE(std::string(error.what()).find("internal error: dtype == dtype_of<T>()"),
              std::string::npos);
  }
  EXPECT_THROW(TensorView(nullptr, DType::kF32, {1, 2, 3, 4, 5}), Error);
}

}  // namespace
}  // namespace sinkrouter
