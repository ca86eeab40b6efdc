#include "sinkrouter/engine.h"

#include <algorithm>
#include <vector>

#include "backend/backend.h"
#include "base/block_size.h"
#include "base/check.h"
#include "kernels/descriptors.h"
#include "kv/batch_tables.h"
#include "kv/kv_cache.h"
#include "model/llama.h"
#include "runtime/audits.h"

namespace sinkrouter {
namespace {

constexpr int kPrefillChunk = 512;
// Rows of logits computed at once when a caller wants every token's.
constexpr int kLogitRows = 64;

KvCacheConfig cache_config(const LlamaConfig& model, const EngineOptions& options) {
  KvCacheConfig config;
  config.layers = model.layers;
  config.kv_heads = model.kv_heads;
  config.head_dim = model.head_dim;
  config.dtype = options.kv_dtype;
  config.page_size = options.page_size;
  config.sketch_bits = options.sketch_bits;
  config.key_boxes = options.key_boxes;
  config.capacity_tokens = options.capacity_tokens;
  config.max_sequences = options.max_sequences;
  return config;
}

EngineOptions resolve(EngineOptions options, const LlamaConfig& model) {
  SR_CHECK(options.device == DeviceKind::kCpu, kInvalidArgument,
           "device 'cuda' is not in this build: use --device cpu");
  SR_CHECK(options.capacity_tokens >= 0, kInvalidArgument,
           "capacity {} is out of range: expected 0 (the model's length) or more tokens",
           options.capacity_tokens);
  if (options.capacity_tokens == 0) options.capacity_tokens = model.max_positions;
  return options;
}

std::unique_ptr<Backend> make_backend(const LlamaConfig& model, const EngineOptions& options) {
  const int group = model.q_heads / model.kv_heads;
  for (KernelOp op : {KernelOp::kDecodeAttention, KernelOp::kPrefillAttention}) {
    require_kernel(op, name(options.device), options.kv_dtype, model.head_dim, group);
  }
  return make_cpu_backend(options.threads);
}

std::string directory_name(const std::filesystem::path& directory) {
  const std::filesystem::path clean = std::filesystem::absolute(directory).lexically_normal();
  return (clean.has_filename() ? clean : clean.parent_path()).filename().string();
}

}  // namespace

std::string_view name(DeviceKind device) { return device == DeviceKind::kCpu ? "cpu" : "cuda"; }

DeviceKind parse_device(std::string_view text) {
  for (DeviceKind device : {DeviceKind::kCpu, DeviceKind::kCuda}) {
    if (text == name(device)) return device;
  }
  throw Error(Error::Kind::kInvalidArgument,
              fmt::format("unknown device '{}': expected cpu or cuda", text));
}

struct Sequence::Impl {
  std::shared_ptr<KvCache> cache;
  SequenceId id;

  Impl(std::shared_ptr<KvCache> owner, SequenceId name) : cache(std::move(owner)), id(name) {}
  ~Impl() { cache->release(id); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
};

Sequence::Sequence() = default;
Sequence::~Sequence() = default;
Sequence::Sequence(Sequence&&) noexcept = default;
Sequence& Sequence::operator=(Sequence&&) noexcept = default;

int Sequence::length() const { return impl_ == nullptr ? 0 : impl_->cache->length(impl_->id); }

struct Engine::Impl {
  LlamaConfig config;
  EngineOptions options;
  std::shared_ptr<const Tokenizer> tokenizer;
  std::unique_ptr<Backend> backend;
  Llama model;
  std::shared_ptr<KvCache> cache;
  BatchTables tables;
  ModelInfo info;
  ReadStats stats;
  Audits audits;
  AttentionObserver observer;

  // Of the step in hand; they keep their room between steps.
  std::vector<SequenceId> ids;
  std::vector<std::int32_t> tokens;
  std::vector<std::int32_t> positions;

  explicit Impl(const EngineOptions& wanted);

  SequenceId checked(const Sequence::Impl* sequence) const;
  void check_tokens(std::span<const int> tokens) const;
  void check_room(SequenceId id, std::int64_t more) const;
  void prefill_chunk(SequenceId id, std::span<const int> chunk, bool last);
  void decode_batch(std::span<const int> chunk, const PolicyOptions& policy);
};

Engine::Impl::Impl(const EngineOptions& wanted)
    : config(load_llama_config(wanted.model)),
      options(resolve(wanted, config)),
      tokenizer(Tokenizer::load(options.model)),
      backend(make_backend(config, options)),
      model(*backend, config, load_llama_weights(options.model, config)),
      cache(std::make_shared<KvCache>(cache_config(config, options))),
      tables(*cache, options.max_sequences),
      audits(config.layers, config.kv_heads) {
  info.name = directory_name(options.model);
  info.layers = config.layers;
  info.q_heads = config.q_heads;
  info.kv_heads = config.kv_heads;
  info.head_dim = config.head_dim;
  info.hidden_size = config.hidden_size;
  info.vocab_size = config.vocab_size;
  info.max_positions = config.max_positions;
  info.parameters = model.parameters();
  info.weight_bytes = model.weight_bytes();
}

SequenceId Engine::Impl::checked(const Sequence::Impl* sequence) const {
  SR_CHECK(sequence != nullptr && sequence->cache == cache, kInvalidArgument,
           "the sequence is empty or belongs to another engine");
  return sequence->id;
}

void Engine::Impl::check_tokens(std::span<const int> ids_in) const {
  for (std::size_t i = 0; i < ids_in.size(); ++i) {
    SR_CHECK(ids_in[i] >= 0 && ids_in[i] < config.vocab_size, kInvalidArgument,
             "token {} at index {} is out of range: expected 0 to {}", ids_in[i], i,
             config.vocab_size - 1);
  }
}

void Engine::Impl::check_room(SequenceId id, std::int64_t more) const {
  const std::int64_t needed = cache->length(id) + more;
  SR_CHECK(needed <= config.max_positions, kOutOfCapacity,
           "{} tokens are more than the model's max_position_embeddings {}: shorten the prompt",
           needed, config.max_positions);
}

Engine::Engine(const EngineOptions& options) : impl_(std::make_unique<Impl>(options)) {}
Engine::~Engine() = default;

const ModelInfo& Engine::info() const { return impl_->info; }
const EngineOptions& Engine::options() const { return impl_->options; }
const Tokenizer& Engine::tokenizer() const { return *impl_->tokenizer; }
std::string Engine::description() const { return impl_->backend->description(); }
const ReadStats& Engine::read_stats() const { return impl_->stats; }
void Engine::reset_read_stats() {
  impl_->stats = {};
  impl_->audits.reset();
}
AuditSummary Engine::audit() const { return impl_->audits.last(); }

std::vector<PinnedSink> Engine::pinned_sinks(const Sequence& sequence) const {
  const SequenceId id = impl_->checked(sequence.impl_.get());
  std::vector<PinnedSink> sinks;
  int head = 0;  // over layers and KV heads
  for (const PinnedBlocks& pinned : impl_->cache->pinned(id)) {
    for (int i = 0; i < pinned.count; ++i) {
      sinks.push_back({.layer = head / impl_->config.kv_heads,
                       .kv_head = head % impl_->config.kv_heads,
                       .block = pinned.blocks[i],
                       .first_position = pinned.blocks[i] * kBlockSize,
                       .mass = pinned.masses[i]});
    }
    ++head;
  }
  return sinks;
}

std::vector<float> Engine::output_projection(int layer, int q_head) const {
  SR_CHECK(
      layer >= 0 && layer < impl_->config.layers && q_head >= 0 && q_head < impl_->config.q_heads,
      kInvalidArgument, "layer {}, q head {} is out of range: the model has {} and {}", layer,
      q_head, impl_->config.layers, impl_->config.q_heads);
  return impl_->model.output_projection(layer, q_head);
}

void Engine::set_attention_observer(AttentionObserver observer) {
  impl_->observer = std::move(observer);
}

Sequence Engine::create_sequence() {
  Sequence sequence;
  sequence.impl_ = std::make_unique<Sequence::Impl>(impl_->cache, impl_->cache->create());
  return sequence;
}

Sequence Engine::fork(const Sequence& sequence) {
  const SequenceId source = impl_->checked(sequence.impl_.get());
  Sequence copy;
  copy.impl_ = std::make_unique<Sequence::Impl>(impl_->cache, impl_->cache->fork(source));
  return copy;
}

void Engine::Impl::prefill_chunk(SequenceId id, std::span<const int> chunk, bool last) {
  const int count = static_cast<int>(chunk.size());
  const int first = cache->length(id);
  ids.assign(1, id);
  tokens.assign(chunk.begin(), chunk.end());
  positions.resize(chunk.size());
  for (int i = 0; i < count; ++i) positions[static_cast<std::size_t>(i)] = first + i;
  tables.fill(*cache, ids, count);
  LlamaBatch batch;
  batch.ids = tokens;
  batch.positions = positions;
  batch.sequences = ids;
  batch.tables = &tables;
  batch.pin_sinks = last;
  model.forward(batch, *cache);
  cache->commit(id, count);
}

// Decodes for `ids` at `positions`; on an exception every sequence is as it was.
void Engine::Impl::decode_batch(std::span<const int> batch_tokens, const PolicyOptions& policy) {
  try {
    for (const SequenceId& id : ids) cache->reserve(id, 1);
    tokens.assign(batch_tokens.begin(), batch_tokens.end());
    tables.fill(*cache, ids, 1);
    LlamaBatch batch;
    batch.ids = tokens;
    batch.positions = positions;
    batch.sequences = ids;
    batch.tables = &tables;
    batch.policy = &policy;
    batch.stats = &stats;
    batch.audit = &audits.of(policy);
    batch.observer = observer ? &observer : nullptr;
    model.forward(batch, *cache);
  } catch (...) {
    for (const SequenceId& id : ids) cache->truncate(id, cache->length(id));
    throw;
  }
  for (const SequenceId& id : ids) cache->commit(id, 1);
}

std::span<const float> Engine::prefill(Sequence& sequence, std::span<const int> tokens,
                                       const PrefillProgress& progress,
                                       const LogitsSink& all_logits) {
  Impl& impl = *impl_;
  const SequenceId id = impl.checked(sequence.impl_.get());
  SR_CHECK(!tokens.empty(), kInvalidArgument, "the prompt is empty: give at least one token");
  SR_CHECK(tokens.size() <= static_cast<std::size_t>(impl.config.max_positions), kOutOfCapacity,
           "the prompt has {} tokens, more than the model's max_position_embeddings {}: shorten it",
           tokens.size(), impl.config.max_positions);
  impl.check_tokens(tokens);
  const auto total = static_cast<std::int64_t>(tokens.size());
  impl.check_room(id, total);
  impl.cache->reserve(id, static_cast<int>(total));
  const int length_before = impl.cache->length(id);
  try {
    int last_chunk = 0;
    for (std::int64_t done = 0; done < total; done += last_chunk) {
      if (progress) progress(done, total);
      last_chunk = static_cast<int>(std::min<std::int64_t>(kPrefillChunk, total - done));
      impl.prefill_chunk(
          id, tokens.subspan(static_cast<std::size_t>(done), static_cast<std::size_t>(last_chunk)),
          done + last_chunk == total);
      for (int row = 0; all_logits && row < last_chunk; row += kLogitRows) {
        const int rows = std::min(kLogitRows, last_chunk - row);
        all_logits(done + row, impl.model.logits(row, rows));
      }
    }
    if (progress) progress(total, total);
    return impl.model.logits(last_chunk - 1, 1);
  } catch (...) {
    impl.cache->truncate(id, length_before);
    throw;
  }
}

std::span<const float> Engine::decode(std::span<Sequence* const> sequences,
                                      std::span<const int> tokens, const PolicyOptions& policy) {
  Impl& impl = *impl_;
  SR_CHECK(!tokens.empty() && sequences.size() == tokens.size(), kInvalidArgument,
           "decode needs one token for each sequence: got {} tokens for {} sequences",
           tokens.size(), sequences.size());
  SR_CHECK(tokens.size() <= static_cast<std::size_t>(impl.options.max_sequences), kInvalidArgument,
           "a batch of {} sequences is more than max_sequences {}", tokens.size(),
           impl.options.max_sequences);
  validate(policy, impl.options.page_size);
  impl.check_tokens(tokens);
  impl.ids.clear();
  impl.positions.clear();
  for (const Sequence* sequence : sequences) {
    SR_CHECK(sequence != nullptr, kInvalidArgument, "decode was given a null sequence");
    const SequenceId id = impl.checked(sequence->impl_.get());
    for (const SequenceId& earlier : impl.ids) {
      SR_CHECK(earlier.slot != id.slot, kInvalidArgument,
               "a sequence is twice in one batch: decode takes each once");
    }
    impl.check_room(id, 1);
    impl.ids.push_back(id);
    impl.positions.push_back(impl.cache->length(id));
  }
  impl.decode_batch(tokens, policy);
  impl.stats.tokens += static_cast<std::int64_t>(tokens.size());
  return impl.model.logits(0, static_cast<int>(tokens.size()));
}

}  // namespace sinkrouter
