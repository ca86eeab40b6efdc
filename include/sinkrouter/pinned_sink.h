#pragma once

namespace sinkrouter {

// A block that every list of its layer and KV head holds, because queries look there whatever they
// ask: a sink that is not at the beginning.
struct PinnedSink {
  int layer = 0;
  int kv_head = 0;
  int block = 0;
  int first_position = 0;  // of the block's rows
  float mass = 0;          // mean attention mass on the block, fading with every look at it
};

}  // namespace sinkrouter
