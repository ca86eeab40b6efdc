#include "bench/random_cache.h"

#include "kernels/cpu/cpu.h"

namespace sinkrouter {
namespace {

constexpr std::int64_t kTable = std::int64_t{1} << 20;

KvCacheConfig config_of(const AttentionBenchOptions& options, int layers) {
  const std::int64_t pages_each =
      (std::int64_t{options.context} + options.page_size - 1) / options.page_size;
  KvCacheConfig config;
  config.layers = layers;
  config.kv_heads = options.shape.kv_heads;
  config.head_dim = options.shape.head_dim;
  config.dtype = options.kv_dtype;
  config.page_size = options.page_size;
  config.capacity_tokens = pages_each * options.page_size * options.batch;
  config.max_sequences = options.batch;
  return config;
}

void store_moments(KvCache& cache, SequenceId id, int position, int rows) {
  const KvCacheConfig& config = cache.config();
  const BlockRange blocks = filled_blocks(position, rows);
  for (int layer = 0; layer < config.layers; ++layer) {
    for (int kv_head = 0; kv_head < config.kv_heads; ++kv_head) {
      for (int block = blocks.begin; block < blocks.end; ++block) {
        const BlockSlot slot = cache.block(layer, id, kv_head, block);
        cpu::block_moments({.keys = slot.keys,
                            .dtype = config.dtype,
                            .token_stride = slot.token_stride,
                            .head_dim = config.head_dim,
                            .codes = slot.codes,
                            .scale = slot.scale});
      }
    }
  }
}

}  // namespace

RandomFloats::RandomFloats(std::int64_t longest, std::uint64_t seed)
    : rng_(seed), table_(static_cast<std::size_t>(kTable + longest)) {
  for (float& value : table_) value = rng_.normal();
}

const float* RandomFloats::draw() { return table_.data() + rng_.below(kTable); }

RandomCache::RandomCache(const AttentionBenchOptions& options, int layers, const Progress& progress)
    : cache_(config_of(options, layers)), tables_(cache_, options.batch) {
  const std::int64_t row = std::int64_t{options.shape.kv_heads} * options.shape.head_dim;
  RandomFloats floats(row * options.page_size, options.seed);
  std::vector<SequenceId> ids;
  for (int i = 0; i < options.batch; ++i) ids.push_back(cache_.create());
  // Page by page and sequence by sequence, as sequences that grow together share the pool.
  for (int position = 0; position < options.context; position += options.page_size) {
    if (progress) progress("filling the cache", static_cast<double>(position) / options.context);
    const int rows = std::min(options.page_size, options.context - position);
    for (const SequenceId id : ids) {
      cache_.reserve(id, rows);
      for (int layer = 0; layer < layers; ++layer) {
        cache_.store_rows(layer, id, position, rows, floats.draw(), floats.draw(), row);
      }
      store_moments(cache_, id, position, rows);
      cache_.commit(id, rows);
    }
  }
  tables_.fill(cache_, ids, 0);
}

}  // namespace sinkrouter
