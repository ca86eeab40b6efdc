#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/linear.cpp"
#include <hwy/foreach_target.h>
// After foreach_target.h, which includes this file once per instruction set.
#include <algorithm>

#include "kernels/cpu/dot-inl.h"
#include "kernels/params.h"

HWY_BEFORE_NAMESPACE();
namespace sinkrouter::cpu::HWY_NAMESPACE {

inline constexpr int kFewTokens = 16;

// Outputs [begin, end) of every token, each weight read once from memory.
template <typename T>
void thin_outputs_as(const LinearParams& params, int begin, int end) {
  const T* weight = static_cast<const T*>(params.weight);
  const std::int64_t inputs = params.inputs;
  const std::int64_t whole = inputs / kLanes * kLanes;
  float products[kFewTokens * kDotRows];
  for (int out = begin; out < end; out += kDotRows) {
    const T* rows[kDotRows];
    for (int r = 0; r < kDotRows; ++r) rows[r] = weight + std::min(out + r, end - 1) * inputs;
    dot_rows(rows, params.input, inputs, params.tokens, whole, products, kDotRows,
             FetchRowsAfter());
    const int count = std::min(kDotRows, end - out);
    for (int token = 0; token < params.tokens; ++token) {
      const float* input = params.input + token * inputs;
      float* output = params.output + std::int64_t{token} * params.outputs + out;
      for (int r = 0; r < count; ++r) {
        float sum = products[token * kDotRows + r];
        for (std::int64_t i = whole; i < inputs; ++i) sum += input[i] * to_float(rows[r][i]);
        output[r] = params.accumulate ? output[r] + sum : sum;
      }
    }
  }
}

void thin_outputs(const LinearParams& params, int begin, int end) {
  visit_dtype<float, BFloat16, Float16>(
      params.weight_dtype, [&]<typename T>() { thin_outputs_as<T>(params, begin, end); });
}

template <typename T>
void widen_as(const T* from, std::int64_t count, float* to) {
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store(load(from + i), to + i);
  for (; i < count; ++i) to[i] = to_float(from[i]);
}

// fp32 copy of `count` weights.
void widen(const LinearParams& params, std::int64_t first, std::int64_t count, float* to) {
  visit_dtype<BFloat16, Float16>(params.weight_dtype, [&]<typename T>() {
    widen_as(static_cast<const T*>(params.weight) + first, count, to);
  });
}

}  // namespace sinkrouter::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <dnnl.h>
#include <omp.h>

#include "base/check.h"
#include "kernels/cpu/cpu.h"
#include "kernels/descriptors.h"

namespace sinkrouter::cpu {
namespace {

HWY_EXPORT(thin_outputs);
HWY_EXPORT(widen);

constexpr int kFewTokens = 16;
constexpr int kTasksPerThread = 4;
constexpr std::int64_t kPanelBytes = 1 << 19;  // of fp32 weights: half of a common L2

int rounded_up(int value, int multiple) { return (value + multiple - 1) / multiple * multiple; }

// oneDNN's own team would compete with our threads for the cores: keep it to the caller.
class OneOpenMpThread {
 public:
  OneOpenMpThread() : before_(omp_get_max_threads()) { omp_set_num_threads(1); }
  ~OneOpenMpThread() { omp_set_num_threads(before_); }
  OneOpenMpThread(const OneOpenMpThread&) = delete;
  OneOpenMpThread& operator=(const OneOpenMpThread&) = delete;

 private:
  int before_;
};

void thin(const LinearParams& params, ThreadPool& threads) {
  constexpr int kLeastOutputs = 32;
  const int tasks = threads.size() * kTasksPerThread;
  const int span = std::max(kLeastOutputs, rounded_up((params.outputs + tasks - 1) / tasks, 4));
  threads.run((params.outputs + span - 1) / span, [&](int task, int) {
    HWY_DYNAMIC_DISPATCH(thin_outputs)
    (params, task * span, std::min(params.outputs, (task + 1) * span));
  });
}

void multiply_panel(const LinearParams& params, int begin, int end, float* widened) {
  const std::int64_t first = std::int64_t{begin} * params.inputs;
  const float* weight;
  if (params.weight_dtype == DType::kF32) {
    weight = static_cast<const float*>(params.weight) + first;
  } else {
    HWY_DYNAMIC_DISPATCH(widen)
    (params, first, std::int64_t{end - begin} * params.inputs, widened);
    weight = widened;
  }
  const OneOpenMpThread one_thread;
  const dnnl_status_t status =
      dnnl_sgemm('N', 'T', params.tokens, end - begin, params.inputs, 1.0f, params.input,
                 params.inputs, weight, params.inputs, params.accumulate ? 1.0f : 0.0f,
                 params.output + begin, params.outputs);
  SR_CHECK(status == dnnl_success, kInternal, "oneDNN sgemm failed with status {}",
           static_cast<int>(status));
}

}  // namespace

void linear(const LinearParams& params, ThreadPool& threads, Scratch& scratch) {
  if (params.tokens <= 0 || params.outputs <= 0) return;
  require_kernel(KernelOp::kLinear, "cpu", params.weight_dtype, 0, 1);
  if (params.tokens <= kFewTokens) {
    thin(params, threads);
    return;
  }
  const std::int64_t row_bytes = std::int64_t{params.inputs} * 4;
  const int cached = static_cast<int>(
      std::clamp<std::int64_t>(kPanelBytes / std::max<std::int64_t>(1, row_bytes), 16, 4096));
  const int tasks = threads.size() * 2;
  const int panel = rounded_up(std::min(cached, (params.outputs + tasks - 1) / tasks), 16);
  float* widened = nullptr;
  if (params.weight_dtype != DType::kF32) {
    widened = static_cast<float*>(scratch.reserve(threads.size() * panel * row_bytes));
  }
  threads.run((params.outputs + panel - 1) / panel, [&](int task, int worker) {
    float* mine =
        widened == nullptr ? nullptr : widened + std::int64_t{worker} * panel * params.inputs;
    multiply_panel(params, task * panel, std::min(params.outputs, (task + 1) * panel), mine);
  });
}

}  // namespace sinkrouter::cpu
#endif
