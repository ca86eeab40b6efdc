#include "kernels/cuda/decode_attention.h"

#include <algorithm>

#include "base/check.h"
#include "base/dtype.h"
#include "kernels/cuda/decode_kernels.h"
#include "kernels/cuda/decode_workspace.h"
#include "kernels/cuda/device.h"
#include "kernels/descriptors.h"

namespace sinkrouter::cuda {
namespace {

DecodeKernel kernel_of(DType dtype, int head_dim) {
  if (dtype == DType::kBF16) return decode_kernel_bf16(head_dim);
  if (dtype == DType::kF16) return decode_kernel_f16(head_dim);
  SR_ASSERT(dtype == DType::kF8E4M3);
  return decode_kernel_f8e4m3(head_dim);
}

bool is_aligned(const void* pointer) { return reinterpret_cast<std::uintptr_t>(pointer) % 16 == 0; }

void check_cache(const KvView& kv, bool with_values) {
  SR_CHECK(kv.sequences > 0 && kv.page_size > 0, kInvalidArgument,
           "decode attention: {} sequences, page size {}: expected positive numbers", kv.sequences,
           kv.page_size);
  SR_CHECK(kv.keys != nullptr && (kv.values != nullptr || !with_values) &&
               kv.page_table != nullptr && kv.lengths != nullptr,
           kInvalidArgument,
           "decode attention: keys, values, page table and lengths must not be null");
  const std::int64_t step = 16 / static_cast<std::int64_t>(size_in_bytes(kv.dtype));
  SR_CHECK(is_aligned(kv.keys) && is_aligned(kv.values) && kv.page_stride % step == 0 &&
               kv.head_stride % step == 0 && kv.token_stride % step == 0,
           kInvalidArgument,
           "decode attention: rows of keys and values must start at multiples "
           "of 16 bytes; strides are {}, {}, {} elements of {}",
           kv.page_stride, kv.head_stride, kv.token_stride, name(kv.dtype));
  SR_CHECK(kv.dtype == DType::kF8E4M3 || (kv.key_scales == nullptr && kv.value_scales == nullptr),
           kInvalidArgument, "decode attention: scales of a cache of {}: only f8e4m3 has them",
           name(kv.dtype));
}

void check_params(const DecodeParams& params, const DecodeGrid& grid) {
  const KvView& kv = params.kv;
  SR_CHECK(kv.kv_heads > 0 && params.q_heads > 0 && params.q_heads % kv.kv_heads == 0,
           kInvalidArgument, "decode attention: {} q heads do not divide among {} KV heads",
           params.q_heads, kv.kv_heads);
  require_kernel(KernelOp::kDecodeAttention, "cuda", kv.dtype, kv.head_dim,
                 params.q_heads / kv.kv_heads);
  SR_CHECK(params.query_dtype != DType::kF8E4M3 && params.output_dtype != DType::kF8E4M3,
           kInvalidArgument, "decode attention: queries and output cannot be f8e4m3");
  SR_CHECK(params.queries != nullptr && (params.output != nullptr || params.lse != nullptr),
           kInvalidArgument,
           "decode attention: queries, and one of output and lse, must not be null");
  check_cache(kv, params.output != nullptr);
  const GranuleLists& lists = params.lists;
  SR_CHECK(lists.granule > 0 && lists.capacity > 0 && lists.granules != nullptr &&
               lists.counts != nullptr,
           kInvalidArgument,
           "decode attention: lists of capacity {} and granule {}: expected positive numbers and "
           "lists and counts that are not null",
           lists.capacity, lists.granule);
  SR_CHECK(grid.kv_dtype == kv.dtype && grid.head_dim == kv.head_dim && grid.blocks > 0,
           kInvalidArgument,
           "decode attention: a grid of {} blocks for d={} {}, a cache of d={} {}", grid.blocks,
           grid.head_dim, name(grid.kv_dtype), kv.head_dim, name(kv.dtype));
  const std::int64_t needed = decode_workspace(params, grid);
  SR_CHECK(params.workspace != nullptr && params.workspace_bytes >= needed &&
               is_aligned(params.workspace),
           kInvalidArgument,
           "decode attention: workspace of {} bytes, needs {} at a multiple of 16",
           params.workspace == nullptr ? 0 : params.workspace_bytes, needed);
}

}  // namespace

DecodeGrid decode_grid(DType kv_dtype, int head_dim) {
  require_kernel(KernelOp::kDecodeAttention, "cuda", kv_dtype, head_dim, 1);
  const DeviceLimits limits = device_limits();
  const DecodeKernel kernel = kernel_of(kv_dtype, head_dim);
  SR_CHECK(kernel.shared_bytes <= limits.shared_bytes_per_block, kInvalidArgument,
           "decode attention needs {} bytes of shared memory per block, this GPU has {}",
           kernel.shared_bytes, limits.shared_bytes_per_block);
  const void* const entry = reinterpret_cast<const void*>(kernel.entry);
  check(
      cudaFuncSetAttribute(entry, cudaFuncAttributeMaxDynamicSharedMemorySize, kernel.shared_bytes),
      "shared memory of decode attention");
  // So that blocks of the next kernel find room beside those of this one.
  check(cudaFuncSetAttribute(entry, cudaFuncAttributePreferredSharedMemoryCarveout,
                             cudaSharedmemCarveoutMaxShared),
        "shared memory of decode attention");
  int fitting = 0;
  check(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&fitting, entry, kernel.threads,
                                                      kernel.shared_bytes),
        "occupancy of decode attention");
  DecodeGrid grid;
  grid.kv_dtype = kv_dtype;
  grid.head_dim = head_dim;
  grid.blocks = std::min(std::min(fitting, kernel.blocks) * limits.multiprocessors, kMostBlocks);
  grid.overlaps = limits.overlaps_kernels;
  SR_ASSERT(grid.blocks > 0);
  return grid;
}

std::int64_t decode_workspace(const DecodeParams& params, const DecodeGrid& grid) {
  const KvView& kv = params.kv;
  return Workspace::bytes(grid.blocks, params.q_heads / kv.kv_heads, kv.head_dim,
                          std::int64_t{kv.sequences} * kv.kv_heads);
}

void decode_attention(const DecodeParams& params, const DecodeGrid& grid, cudaStream_t stream) {
  check_params(params, grid);
  const DecodeKernel kernel = kernel_of(params.kv.dtype, params.kv.head_dim);
  cudaLaunchAttribute overlap{};
  overlap.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  overlap.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(grid.blocks);
  config.blockDim = dim3(kernel.threads);
  config.dynamicSmemBytes = kernel.shared_bytes;
  config.stream = stream;
  config.attrs = &overlap;
  config.numAttrs = grid.overlaps ? 1 : 0;
  void* arguments[] = {const_cast<DecodeParams*>(&params)};
  check(cudaLaunchKernelExC(&config, reinterpret_cast<const void*>(kernel.entry), arguments),
        "decode attention");
}

}  // namespace sinkrouter::cuda
