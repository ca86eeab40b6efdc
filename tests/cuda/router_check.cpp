// Checks the router's kernels against the scalar reference and the CPU router on random inputs.
// Usage: router_check [cases] [first seed] [words that a case's description must hold]

#include <cstdlib>

#include "router_checks.h"

namespace sinkrouter::cuda_tests {
namespace {

constexpr int kNoGpu = 77;  // ctest: skipped

int run(int cases, std::uint64_t first_seed, const std::string& words) {
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
    fmt::print("router_check: no GPU\n");
    return kNoGpu;
  }
  Report report;
  int checked = 0;
  for (int i = 0; i < cases; ++i) {
    Rng rng(first_seed + i);
    const Case c = draw_case(rng);
    const std::string described = describe(c);
    if (described.find(words) == std::string::npos) continue;
    report.start(first_seed + i, described);
    const Host h = draw_host(c, rng);
    check_append(c, h, rng, report);
    check_router(c, h, report);
    ++checked;
  }
  fmt::print("{} cases, {} failures\n", checked, report.failures());
  return report.failures() == 0 ? 0 : 1;
}

}  // namespace
}  // namespace sinkrouter::cuda_tests

int main(int argc, char** argv) {
  const int cases = argc > 1 ? std::atoi(argv[1]) : 100;
  const std::uint64_t seed = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1;
  try {
    return sinkrouter::cuda_tests::run(cases, seed, argc > 3 ? argv[3] : "");
  } catch (const std::exception& error) {
    fmt::print(stderr, "router_check: {}\n", error.what());
    return 1;
  }
}
