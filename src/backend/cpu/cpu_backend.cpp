#include <cstring>

#include "backend/backend.h"
#include "backend/cpu/routed_attention.h"
#include "backend/cpu/sink_search.h"
#include "base/aligned_array.h"
#include "base/threads.h"
#include "kernels/cpu/cpu.h"
#include "kernels/descriptors.h"

namespace sinkrouter::cpu {
namespace {

class HostBuffer final : public Buffer {
 public:
  explicit HostBuffer(std::int64_t bytes) { storage_.reserve(bytes); }
  void* data() override { return storage_.data(); }
  std::int64_t bytes() const override { return storage_.size(); }

 private:
  AlignedArray<std::byte> storage_;
};

class CpuBackend final : public Backend {
 public:
  explicit CpuBackend(int threads) : threads_(threads), routed_(threads_), sinks_(threads_) {}

  std::string description() const override {
    return fmt::format("cpu ({}, {} threads)", instruction_set(), threads_.size());
  }

  std::unique_ptr<Buffer> allocate(std::int64_t bytes) override {
    return std::make_unique<HostBuffer>(bytes);
  }

  void embed(std::span<const std::int32_t> ids, const TensorView& table, float* output) override {
    const std::int64_t width = table.shape[1];
    visit_dtype<float, BFloat16, Float16>(table.dtype, [&]<typename T>() {
      for (std::size_t t = 0; t < ids.size(); ++t) {
        SR_ASSERT(ids[t] >= 0 && ids[t] < table.shape[0]);
        const T* row = table.as<T>() + ids[t] * width;
        float* out = output + static_cast<std::int64_t>(t) * width;
        for (std::int64_t i = 0; i < width; ++i) out[i] = to_float(row[i]);
      }
    });
  }

  void rms_norm(const float* input, const TensorView& weight, int tokens, float epsilon,
                float* output) override {
    RmsNormParams params;
    params.input = input;
    params.weight = weight.data;
    params.weight_dtype = weight.dtype;
    params.tokens = tokens;
    params.width = static_cast<int>(weight.shape[0]);
    params.epsilon = epsilon;
    params.output = output;
    cpu::rms_norm(params, threads_);
  }

  void linear(const float* input, const TensorView& weight, int tokens, bool accumulate,
              float* output) override {
    LinearParams params;
    params.input = input;
    params.weight = weight.data;
    params.weight_dtype = weight.dtype;
    params.tokens = tokens;
    params.inputs = static_cast<int>(weight.shape[1]);
    params.outputs = static_cast<int>(weight.shape[0]);
    params.accumulate = accumulate;
    params.output = output;
    cpu::linear(params, threads_, scratch_);
  }

  void rope(float* heads, std::span<const std::int32_t> positions,
            std::span<const double> inverse_frequency, int heads_per_token, int head_dim) override {
    RopeParams params;
    params.heads = heads;
    params.positions = positions.data();
    params.inverse_frequency = inverse_frequency.data();
    params.tokens = static_cast<int>(positions.size());
    params.heads_per_token = heads_per_token;
    params.head_dim = head_dim;
    cpu::rope(params, threads_);
  }

  void swiglu(const float* gate, const float* up, int tokens, int width, float* output) override {
    SwigluParams params;
    params.gate = gate;
    params.up = up;
    params.gate_stride = width;
    params.up_stride = width;
    params.tokens = tokens;
    params.width = width;
    params.output = output;
    cpu::swiglu(params, threads_);
  }

  void append(KvCache& cache, const AppendRows& rows) override {
    cache.store_rows(rows.layer, rows.sequence, rows.first_position, rows.tokens, rows.keys,
                     rows.values, rows.row_stride);
    const BlockRange blocks = filled_blocks(rows.first_position, rows.tokens);
    const int kv_heads = cache.config().kv_heads;
    threads_.run((blocks.end - blocks.begin) * kv_heads, [&](int task, int) {
      const BlockSlot slot =
          cache.block(rows.layer, rows.sequence, task % kv_heads, blocks.begin + task / kv_heads);
      BlockMomentsParams params;
      params.keys = slot.keys;
      params.dtype = cache.config().dtype;
      params.token_stride = slot.token_stride;
      params.head_dim = cache.config().head_dim;
      params.codes = slot.codes;
      params.scale = slot.scale;
      block_moments(params);
      if (slot.sketch_codes != nullptr) write_sketches(cache, rows.layer, slot);
      if (slot.box != nullptr) write_box(cache, slot);
    });
  }

  void prefill_attention(const KvCache& cache, const PrefillAttention& call) override {
    PrefillAttentionParams params;
    params.queries = call.queries;
    params.tokens = call.tokens;
    params.first_position = call.first_position;
    params.q_heads = call.q_heads;
    params.scale = call.scale;
    params.kv = cache.view(call.layer, *call.tables);
    params.output = call.output;
    cpu::prefill_attention(params, threads_, scratch_);
  }

  void pin_sinks(KvCache& cache, SequenceId sequence, const PrefillAttention& call) override {
    sinks_.run(cache, sequence, call);
  }

  void decode_attention(KvCache& cache, const DecodeAttention& call) override {
    routed_.run(cache, call);
  }

 private:
  static void write_sketches(const KvCache& cache, int layer, const BlockSlot& slot) {
    const SketchView sketches = cache.sketches(layer);
    RowSketchesParams params;
    params.keys = slot.keys;
    params.dtype = cache.config().dtype;
    params.token_stride = slot.token_stride;
    params.head_dim = cache.config().head_dim;
    params.mean_codes = slot.codes;
    params.mean_scale = *slot.scale;
    params.rotation = sketches.rotation;
    params.bits = sketches.bits;
    params.codes = slot.sketch_codes;
    params.scales = slot.sketch_scales;
    params.misses = slot.sketch_misses;
    row_sketches(params);
  }

  static void write_box(const KvCache& cache, const BlockSlot& slot) {
    KeyBoxParams params;
    params.keys = slot.keys;
    params.dtype = cache.config().dtype;
    params.token_stride = slot.token_stride;
    params.head_dim = cache.config().head_dim;
    params.box = slot.box;
    key_box(params);
  }

  ThreadPool threads_;
  Scratch scratch_;
  RoutedAttention routed_;
  SinkSearch sinks_;
};

}  // namespace
}  // namespace sinkrouter::cpu

namespace sinkrouter {

std::unique_ptr<Backend> make_cpu_backend(int threads) {
  return std::make_unique<cpu::CpuBackend>(threads);
}

}  // namespace sinkrouter
