#include "kernels/cuda/decode_attention.cuh"

#include "base/check.h"
#include "base/dtype.h"
#include "kernels/cuda/decode_attention.h"
#include "kernels/cuda/device.h"
#include "kernels/descriptors.h"

namespace sinkrouter::cuda {
namespace {

constexpr int kMostGroup = 16;

// Calls fn.operator()<Element, head_dim>() for the kernel of a dtype and head dim.
template <typename Fn>
void visit_kernel(DType dtype, int head_dim, Fn&& fn) {
  const bool found = visit_int<64, 80, 96, 128>(head_dim, [&]<int kHeadDim>() {
    if (dtype == DType::kBF16) {
      fn.template operator()<__nv_bfloat16, kHeadDim>();
    } else {
      fn.template operator()<__half, kHeadDim>();
    }
  });
  SR_ASSERT(found);
}

bool is_aligned(const void* pointer) { return reinterpret_cast<std::uintptr_t>(pointer) % 16 == 0; }

void check_params(const DecodeParams& params, const DecodeGrid& grid) {
  const KvView& kv = params.kv;
  SR_CHECK(kv.kv_heads > 0 && params.q_heads > 0 && params.q_heads % kv.kv_heads == 0,
           kInvalidArgument, "decode attention: {} q heads do not divide among {} KV heads",
           params.q_heads, kv.kv_heads);
  require_kernel(KernelOp::kDecodeAttention, "cuda", kv.dtype, kv.head_dim,
                 params.q_heads / kv.kv_heads);
  SR_CHECK(params.query_dtype != DType::kF8E4M3 && params.output_dtype != DType::kF8E4M3,
           kInvalidArgument, "decode attention: queries and output cannot be f8e4m3");
  SR_CHECK(kv.sequences > 0 && kv.page_size > 0 && params.lists.granule > 0, kInvalidArgument,
           "decode attention: {} sequences, page size {}, granule {}: expected positive numbers",
           kv.sequences, kv.page_size, params.lists.granule);
  SR_CHECK(is_aligned(kv.keys) && is_aligned(kv.values) && kv.page_stride % 8 == 0 &&
               kv.head_stride % 8 == 0 && kv.token_stride % 8 == 0,
           kInvalidArgument,
           "decode attention: rows of keys and values must start at multiples "
           "of 16 bytes; strides are {}, {}, {} elements",
           kv.page_stride, kv.head_stride, kv.token_stride);
  const std::int64_t needed = decode_workspace(params, grid);
  SR_CHECK(params.workspace_bytes >= needed && is_aligned(params.workspace), kInvalidArgument,
           "decode attention: workspace of {} bytes, needs {} at a multiple of 16",
           params.workspace_bytes, needed);
}

}  // namespace

DecodeGrid decode_grid(DType kv_dtype, int head_dim) {
  require_kernel(KernelOp::kDecodeAttention, "cuda", kv_dtype, head_dim, 1);
  const DeviceLimits limits = device_limits();
  DecodeGrid grid;
  visit_kernel(kv_dtype, head_dim, [&]<typename Element, int kHeadDim>() {
    const auto kernel = decode_attention_kernel<Element, kHeadDim>;
    grid.shared_bytes = StageLayout<kHeadDim>::kBlockBytes;
    SR_CHECK(grid.shared_bytes <= limits.shared_bytes_per_block, kInvalidArgument,
             "decode attention needs {} bytes of shared memory per block, this GPU has {}",
             grid.shared_bytes, limits.shared_bytes_per_block);
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               grid.shared_bytes),
          "shared memory of decode attention");
    int blocks = 0;
    check(
        cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, kernel, kThreads, grid.shared_bytes),
        "occupancy of decode attention");
    grid.blocks = blocks * limits.multiprocessors;
  });
  const std::int64_t merge_bytes =
      std::int64_t{kMostGroup} * (grid.blocks + 1) * static_cast<std::int64_t>(sizeof(float));
  SR_ASSERT(grid.blocks > 0 && merge_bytes <= grid.shared_bytes);
  return grid;
}

std::int64_t decode_workspace(const DecodeParams& params, const DecodeGrid& grid) {
  const KvView& kv = params.kv;
  return Workspace::bytes(grid.blocks, params.q_heads / kv.kv_heads, kv.head_dim,
                          std::int64_t{kv.sequences} * kv.kv_heads);
}

void decode_attention(const DecodeParams& params, const DecodeGrid& grid, cudaStream_t stream) {
  check_params(params, grid);
  visit_kernel(params.kv.dtype, params.kv.head_dim, [&]<typename Element, int kHeadDim>() {
    decode_attention_kernel<Element, kHeadDim>
        <<<grid.blocks, kThreads, grid.shared_bytes, stream>>>(params);
  });
  check(cudaGetLastError(), "decode attention");
}

}  // namespace sinkrouter::cuda
