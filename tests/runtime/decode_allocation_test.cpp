#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "sinkrouter/engine.h"
#include "support/allocation_count.h"
#include "support/tiny_model.h"

namespace sinkrouter {
namespace {

TEST(DecodeAllocation, NothingAfterTheFirstToken) {
  testing::TemporaryDirectory directory;
  testing::write_tiny_model(directory.path(), testing::TinyModelShape{}, 3);
  EngineOptions options;
  options.model = directory.path();
  options.threads = 2;
  options.sketch_bits = 4;
  options.key_boxes = true;
  Engine engine(options);
  Sequence prompt = engine.create_sequence();
  engine.prefill(prompt, std::vector<int>(500, 7));
  for (PolicyKind kind :
       {PolicyKind::kDense, PolicyKind::kMargin, PolicyKind::kRoute, PolicyKind::kCosine,
        PolicyKind::kStreaming, PolicyKind::kCertified, PolicyKind::kQuest, PolicyKind::kOracle}) {
    Sequence sequence = engine.fork(prompt);
    Sequence* one = &sequence;
    const PolicyOptions policy{.kind = kind};
    const int token = 11;
    engine.decode({&one, 1}, {&token, 1}, policy);
    const std::int64_t before = testing::allocation_count();
    for (int step = 0; step < 150; ++step) engine.decode({&one, 1}, {&token, 1}, policy);
    EXPECT_EQ(testing::allocation_count() - before, 0) << name(kind);
  }
  EXPECT_GT(testing::allocation_count(), 0);
}

}  // namespace
}  // namespace sinkrouter
