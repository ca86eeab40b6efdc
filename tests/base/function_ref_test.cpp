#include "base/function_ref.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <type_traits>
#include <utility>

namespace sinkrouter {
namespace {

TEST(FunctionRef, CallsLambdaAndFunctor) {
  struct Add {
    int amount;
    int operator()(int x) const { return x + amount; }
  };
  const auto lambda = [](int x) { return x - 1; };
  const Add add{5};
  EXPECT_EQ(FunctionRef<int(int)>(lambda)(10), 9);
  EXPECT_EQ(FunctionRef<int(int)>(add)(10), 15);
}

TEST(FunctionRef, RefersToTheCallableInsteadOfCopyingIt) {
  int calls = 0;
  auto count = [calls, &outer = calls]() mutable { outer = ++calls; };
  const FunctionRef<void()> reference(count);
  reference();
  reference();
  EXPECT_EQ(calls, 2);
}

TEST(FunctionRef, ForwardsReferencesAndMoveOnlyArguments) {
  const auto append = [](std::string& text, std::unique_ptr<int> number) -> std::string& {
    text += std::to_string(*number);
    return text;
  };
  const FunctionRef<std::string&(std::string&, std::unique_ptr<int>)> reference(append);
  std::string text = "n=";
  EXPECT_EQ(&reference(text, std::make_unique<int>(7)), &text);
  EXPECT_EQ(text, "n=7");
}

TEST(FunctionRef, CopyRefersToTheSameCallable) {
  const auto three = [] { return 3; };
  const FunctionRef<int()> first(three);
  const FunctionRef<int()> second = first;
  EXPECT_EQ(second(), 3);
  static_assert(std::is_trivially_copyable_v<FunctionRef<int()>>);
}

}  // namespace
}  // namespace sinkrouter
