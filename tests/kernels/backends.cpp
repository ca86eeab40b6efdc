#include <hwy/highway.h>

#include "kernels/cpu/cpu.h"
#include "kernels/harness.h"

namespace sinkrouter::kernel_tests {
namespace {

struct CpuState {
  explicit CpuState(std::int64_t instruction_set, int thread_count)
      : target(instruction_set), threads(thread_count) {}

  // Kernels choose their code at each call, so the instruction set is set before each. Lower bits
  // are better instruction sets; the lesser ones stay, for kernels that are not built for this one.
  void select() const {
    hwy::SetSupportedTargetsForTest(~(target - 1));
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  }

  std::int64_t target;
  ThreadPool threads;
  cpu::Scratch scratch;
};

KernelBackend cpu_backend(std::int64_t target, int thread_count) {
  const auto state = std::make_shared<CpuState>(target, thread_count);
  const auto on_threads = [state](auto kernel) {
    return [state, kernel](const auto& params) {
      state->select();
      kernel(params, state->threads);
    };
  };
  const auto on_caller = [state](auto kernel) {
    return [state, kernel](const auto& params) {
      state->select();
      kernel(params);
    };
  };
  const auto with_scratch = [state](auto kernel) {
    return [state, kernel](const auto& params) {
      state->select();
      kernel(params, state->threads, state->scratch);
    };
  };
  KernelBackend backend;
  backend.name = std::string("cpu_") + hwy::TargetName(target) + "_" +
                 std::to_string(thread_count) + (thread_count == 1 ? "_thread" : "_threads");
  backend.decode_workspace = [thread_count](const DecodeAttentionParams& params) {
    return cpu::decode_attention_workspace(params.kv.sequences, params.q_heads, params.kv.kv_heads,
                                           params.kv.head_dim, thread_count);
  };
  backend.decode_attention = on_threads(cpu::decode_attention);
  backend.prefill_attention = with_scratch(cpu::prefill_attention);
  backend.block_scores = on_threads(cpu::block_scores);
  backend.box_bounds = on_threads(cpu::box_bounds);
  backend.key_box = on_caller(cpu::key_box);
  backend.row_logits = on_threads(cpu::row_logits);
  backend.block_moments = on_caller(cpu::block_moments);
  backend.row_sketches = on_caller(cpu::row_sketches);
  backend.sketch_queries = on_caller(cpu::sketch_queries);
  backend.row_scores = on_threads(cpu::row_scores);
  backend.row_bounds = on_threads(cpu::row_bounds);
  backend.rms_norm = on_threads(cpu::rms_norm);
  backend.rope = on_threads(cpu::rope);
  backend.swiglu = on_threads(cpu::swiglu);
  backend.linear = with_scratch(cpu::linear);
  return backend;
}

}  // namespace

std::vector<std::shared_ptr<const KernelBackend>> all_backends() {
  std::vector<std::shared_ptr<const KernelBackend>> backends;
  for (const std::int64_t target : hwy::SupportedAndGeneratedTargets()) {
    for (const int threads : {1, 3}) {
      backends.push_back(std::make_shared<KernelBackend>(cpu_backend(target, threads)));
    }
  }
  return backends;
}

}  // namespace sinkrouter::kernel_tests
