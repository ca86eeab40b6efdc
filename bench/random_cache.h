#pragma once

#include <vector>

#include "base/rng.h"
#include "kv/batch_tables.h"
#include "kv/kv_cache.h"
#include "sinkrouter/bench.h"

namespace sinkrouter {

// Sequences of random keys and values with their moments, as the engine stores them.
class RandomCache {
 public:
  RandomCache(const AttentionBenchOptions& options, int layers, const Progress& progress);

  int layers() const { return cache_.config().layers; }
  KvView view(int layer) const { return cache_.view(layer, tables_); }
  MomentsView moments(int layer) const { return cache_.moments(layer); }

 private:
  KvCache cache_;
  BatchTables tables_;
};

// Floats from a normal distribution, by reading a table of them at random places.
class RandomFloats {
 public:
  RandomFloats(std::int64_t longest, std::uint64_t seed);
  const float* draw();  // `longest` of them, valid as long as this object

 private:
  Rng rng_;
  std::vector<float> table_;
};

}  // namespace sinkrouter
