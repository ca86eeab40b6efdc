#pragma once

#include <gtest/gtest.h>

#include <hwy/highway.h>

namespace sinkrouter::test {

// Calls fn() once with each instruction set that this machine and build have.
template <typename Fn>
void on_every_target(Fn&& fn) {
  hwy::SetSupportedTargetsForTest(0);
  const std::int64_t targets = hwy::SupportedTargets() & HWY_TARGETS;
  for (std::int64_t rest = targets; rest != 0; rest &= rest - 1) {
    const std::int64_t target = rest & -rest;
    SCOPED_TRACE(hwy::TargetName(target));
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().DeInit();
    fn();
  }
  hwy::SetSupportedTargetsForTest(0);
  hwy::GetChosenTarget().DeInit();
}

}  // namespace sinkrouter::test
