// Counts every allocation of this program, so it is a program of its own.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>
#include <vector>

#include "sinkrouter/engine.h"
#include "support/tiny_model.h"

namespace {

std::atomic<long> allocations{0};

void* counted(std::size_t size, std::size_t alignment) {
  allocations.fetch_add(1);
  const std::size_t rounded = (size + alignment - 1) / alignment * alignment;
  void* pointer = std::aligned_alloc(alignment, rounded);
  if (pointer == nullptr) throw std::bad_alloc();
  return pointer;
}

}  // namespace

void* operator new(std::size_t size) { return counted(size, alignof(std::max_align_t)); }
void* operator new(std::size_t size, std::align_val_t alignment) {
  return counted(size, static_cast<std::size_t>(alignment));
}
void operator delete(void* pointer) noexcept { std::free(pointer); }
void operator delete(void* pointer, std::size_t) noexcept { std::free(pointer); }
void operator delete(void* pointer, std::align_val_t) noexcept { std::free(pointer); }
void operator delete(void* pointer, std::size_t, std::align_val_t) noexcept { std::free(pointer); }

namespace sinkrouter {
namespace {

TEST(DecodeAllocation, NothingAfterTheFirstToken) {
  testing::TemporaryDirectory directory;
  testing::write_tiny_model(directory.path(), testing::TinyModelShape{}, 3);
  EngineOptions options;
  options.model = directory.path();
  options.threads = 2;
  options.sketch_bits = 4;
  Engine engine(options);
  Sequence prompt = engine.create_sequence();
  engine.prefill(prompt, std::vector<int>(500, 7));
  for (PolicyKind kind :
       {PolicyKind::kDense, PolicyKind::kMargin, PolicyKind::kRoute, PolicyKind::kCosine,
        PolicyKind::kStreaming, PolicyKind::kCertified, PolicyKind::kOracle}) {
    Sequence sequence = engine.fork(prompt);
    Sequence* one = &sequence;
    const PolicyOptions policy{.kind = kind};
    const int token = 11;
    engine.decode({&one, 1}, {&token, 1}, policy);
    const long before = allocations.load();
    for (int step = 0; step < 150; ++step) engine.decode({&one, 1}, {&token, 1}, policy);
    EXPECT_EQ(allocations.load() - before, 0) << name(kind);
  }
  EXPECT_GT(allocations.load(), 0);
}

}  // namespace
}  // namespace sinkrouter
