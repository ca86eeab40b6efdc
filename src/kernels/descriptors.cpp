#include "kernels/descriptors.h"

#include <array>
#include <cstddef>

#include "base/check.h"

namespace sinkrouter {
namespace {

constexpr int kAny = 0;

constexpr KernelOp kAttentionOps[] = {KernelOp::kDecodeAttention, KernelOp::kPrefillAttention,
                                      KernelOp::kBlockScores,     KernelOp::kBoxBounds,
                                      KernelOp::kRowScores,       KernelOp::kRowBounds,
                                      KernelOp::kRowLogits};
constexpr DType kCacheTypes[] = {DType::kF32, DType::kBF16, DType::kF16};
constexpr DType kWeightTypes[] = {DType::kF32, DType::kBF16, DType::kF16};
constexpr int kHeadDims[] = {64, 80, 96, 128};

constexpr DType kDeviceCacheTypes[] = {DType::kBF16, DType::kF16, DType::kF8E4M3};
constexpr int kMostDeviceGroup = 16;

constexpr auto full_table() {
  std::array<KernelDescriptor,
             std::size(kAttentionOps) * std::size(kCacheTypes) * std::size(kHeadDims) +
                 std::size(kWeightTypes) + std::size(kDeviceCacheTypes) * std::size(kHeadDims)>
      table{};
  std::size_t next = 0;
  for (KernelOp op : kAttentionOps) {
    for (DType dtype : kCacheTypes) {
      for (int head_dim : kHeadDims) table[next++] = {op, "cpu", dtype, head_dim, kAny};
    }
  }
  for (DType dtype : kWeightTypes) table[next++] = {KernelOp::kLinear, "cpu", dtype, kAny, kAny};
  for (DType dtype : kDeviceCacheTypes) {
    for (int head_dim : kHeadDims) {
      table[next++] = {KernelOp::kDecodeAttention, "cuda", dtype, head_dim, kMostDeviceGroup};
    }
  }
  return table;
}

constexpr auto kTable = full_table();

std::string_view op_name(KernelOp op) {
  switch (op) {
    case KernelOp::kDecodeAttention:
      return "decode";
    case KernelOp::kPrefillAttention:
      return "prefill";
    case KernelOp::kBlockScores:
      return "block scores";
    case KernelOp::kBoxBounds:
      return "box bounds";
    case KernelOp::kRowScores:
      return "row scores";
    case KernelOp::kRowBounds:
      return "row bounds";
    case KernelOp::kRowLogits:
      return "row logits";
    case KernelOp::kLinear:
      return "linear";
  }
  SR_ASSERT(false);
}

std::string shape_name(const KernelDescriptor& descriptor) {
  std::string text;
  if (descriptor.head_dim != kAny) text += fmt::format("d={} ", descriptor.head_dim);
  text += name(descriptor.dtype);
  if (descriptor.max_group != kAny) text += fmt::format(" group<={}", descriptor.max_group);
  return text;
}

bool fits(const KernelDescriptor& have, DType dtype, int head_dim, int group) {
  return have.dtype == dtype && (have.head_dim == kAny || have.head_dim == head_dim) &&
         (have.max_group == kAny || group <= have.max_group);
}

}  // namespace

std::span<const KernelDescriptor> kernel_descriptors() { return kTable; }

std::string to_string(const KernelDescriptor& descriptor) {
  return fmt::format("{} {} {}", descriptor.backend, op_name(descriptor.op),
                     shape_name(descriptor));
}

void require_kernel(KernelOp op, std::string_view backend, DType dtype, int head_dim, int group) {
  const auto of_op = [&](const KernelDescriptor& have) {
    return have.op == op && have.backend == backend;
  };
  for (const KernelDescriptor& have : kTable) {
    if (of_op(have) && fits(have, dtype, head_dim, group)) return;
  }
  std::string others;
  for (const KernelDescriptor& have : kTable) {
    if (!of_op(have)) continue;
    if (!others.empty()) others += ", ";
    others += shape_name(have);
  }
  throw Error(
      Error::Kind::kInvalidArgument,
      fmt::format("no {} kernel for {} d={} {} group={}; there are: {}", backend, op_name(op),
                  head_dim, name(dtype), group, others.empty() ? "none" : others));
}

}  // namespace sinkrouter
