#include "cuda/decode_refusals.h"

#include <fmt/format.h>

#include <iterator>
#include <string>

#include "base/dtype.h"
#include "cuda/device_buffer.h"
#include "kernels/cuda/decode_attention.h"
#include "sinkrouter/error.h"

namespace sinkrouter::cuda_tests {

int check_refusals() {
  const DeviceBuffer memory(1 << 20);
  const cuda::DecodeGrid grid = cuda::decode_grid(DType::kBF16, 64);
  cuda::DecodeParams good;
  good.queries = good.output = memory.data();
  good.q_heads = 4;
  good.scale = 1;
  good.kv.keys = good.kv.values = memory.data();
  good.kv.token_stride = 64;
  good.kv.head_stride = good.kv.page_stride = 64 * 64;
  good.kv.kv_heads = good.kv.sequences = 1;
  good.kv.head_dim = 64;
  good.kv.page_table = good.kv.lengths = memory.as<std::int32_t>();
  good.lists = {memory.as<std::int32_t>(), memory.as<std::int32_t>(), 1, 1};
  good.workspace = memory.data();
  good.workspace_bytes = cuda::decode_workspace(good, grid);

  struct Refusal {
    const char* expected;
    void (*spoil)(cuda::DecodeParams&);
  };
  const Refusal refusals[] = {
      {"no cuda kernel for decode d=72", [](auto& p) { p.kv.head_dim = 72; }},
      {"no cuda kernel for decode d=64 f32", [](auto& p) { p.kv.dtype = DType::kF32; }},
      {"group=17", [](auto& p) { p.q_heads = 17; }},
      {"do not divide", [](auto& p) { p.kv.kv_heads = 3; }},
      {"do not divide", [](auto& p) { p.kv.kv_heads = 0; }},
      {"cannot be f8e4m3", [](auto& p) { p.query_dtype = DType::kF8E4M3; }},
      {"cannot be f8e4m3", [](auto& p) { p.output_dtype = DType::kF8E4M3; }},
      {"must not be null", [](auto& p) { p.queries = nullptr; }},
      {"must not be null", [](auto& p) { p.output = nullptr; }},
      {"must not be null", [](auto& p) { p.kv.values = nullptr; }},
      {"must not be null", [](auto& p) { p.kv.page_table = nullptr; }},
      {"not null", [](auto& p) { p.lists.counts = nullptr; }},
      {"page size 0", [](auto& p) { p.kv.page_size = 0; }},
      {"granule 0", [](auto& p) { p.lists.granule = 0; }},
      {"multiples of 16 bytes", [](auto& p) { p.kv.token_stride = 65; }},
      {"only f8e4m3",
       [](auto& p) {
         p.kv.key_scales = p.lse;
         p.kv.value_scales = &p.scale;
       }},
      {"a cache of d=128", [](auto& p) { p.kv.head_dim = 128; }},
      {"workspace of 0 bytes", [](auto& p) { p.workspace = nullptr; }},
      {"workspace of", [](auto& p) { p.workspace_bytes -= 1; }},
  };
  int failed = 0;
  for (const Refusal& refusal : refusals) {
    cuda::DecodeParams params = good;
    refusal.spoil(params);
    std::string message = "no error";
    try {
      cuda::decode_attention(params, grid, nullptr);
    } catch (const Error& error) {
      message = error.what();
    }
    if (message.find(refusal.expected) != std::string::npos) continue;
    ++failed;
    fmt::print("FAILED refusal: expected '{}', got: {}\n", refusal.expected, message);
  }
  fmt::print("refusals: {} cases, {} failed\n", std::size(refusals), failed);
  return failed;
}

}  // namespace sinkrouter::cuda_tests
