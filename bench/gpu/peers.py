#!/usr/bin/env python3
"""Decode attention of other libraries at the shapes of sr_bench_gpu, in CUDA graphs.

    bench/gpu/peers.py [--json FILE] [--contexts 4096,32768,...]

Llama-3.1-8B's attention: 32 q heads, 8 KV heads, head dim 128, bf16, batch 1. PyTorch's SDPA with
its flash and cuDNN backends (with GQA, and with a group's heads as rows of one query, whichever is
faster), and a Triton kernel with a fixed split of each head that leaves early where a head is
routed. FlashInfer's decode as well where it is installed. Needs PyTorch with CUDA, and Triton.
"""

import argparse
import json
import math
import statistics

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch.nn.attention import SDPBackend, sdpa_kernel

Q_HEADS, KV_HEADS, HEAD_DIM = 32, 8, 128
GROUP = Q_HEADS // KV_HEADS
POOL_TOKENS = 1 << 20


@triton.jit
def split_kernel(q, k, v, routed, part_out, part_lse, context, rows_each, scale,
                 GROUP: tl.constexpr, DIM: tl.constexpr, ROWS: tl.constexpr, SPLITS: tl.constexpr):
    head = tl.program_id(0)
    split = tl.program_id(1)
    begin = split * rows_each
    end = tl.minimum(begin + rows_each, context)
    # A routed head reads its sink alone; all its other splits have nothing to do.
    if tl.load(routed + head) != 0:
        end = tl.where(split == 0, tl.minimum(end, ROWS), begin)
    heads = tl.arange(0, 16)
    channels = tl.arange(0, DIM)
    query = tl.load(q + (head * GROUP + heads[:, None]) * DIM + channels[None, :],
                    mask=heads[:, None] < GROUP, other=0.0)
    top = tl.full([16], float("-inf"), tl.float32)
    total = tl.zeros([16], tl.float32)
    mixed = tl.zeros([16, DIM], tl.float32)
    base = head.to(tl.int64) * context * DIM
    for at in range(begin, end, ROWS):
        rows = at + tl.arange(0, ROWS)
        inside = rows < end
        offsets = base + rows[:, None].to(tl.int64) * DIM + channels[None, :]
        keys = tl.load(k + offsets, mask=inside[:, None], other=0.0)
        values = tl.load(v + offsets, mask=inside[:, None], other=0.0)
        logits = tl.dot(query, tl.trans(keys)) * (scale * 1.4426950408889634)
        logits = tl.where(inside[None, :], logits, float("-inf"))
        new_top = tl.maximum(top, tl.max(logits, 1))
        weights = tl.exp2(logits - new_top[:, None])
        factor = tl.exp2(top - new_top)
        total = total * factor + tl.sum(weights, 1)
        mixed = mixed * factor[:, None] + tl.dot(weights.to(tl.bfloat16), values)
        top = new_top
    row = (head * SPLITS + split) * 16 + heads
    tl.store(part_lse + row, tl.where(total > 0, top + tl.log2(total), float("-inf")))
    tl.store(part_out + row[:, None] * DIM + channels[None, :],
             tl.where(total > 0, 1.0 / total, 0.0)[:, None] * mixed)


@triton.jit
def combine_kernel(part_out, part_lse, out, GROUP: tl.constexpr, DIM: tl.constexpr,
                   SPLITS: tl.constexpr):
    q_head = tl.program_id(0)
    head = q_head // GROUP
    splits = tl.arange(0, SPLITS)
    channels = tl.arange(0, DIM)
    row = (head * SPLITS + splits) * 16 + q_head % GROUP
    lse = tl.load(part_lse + row)
    weights = tl.exp2(lse - tl.max(lse, 0))
    parts = tl.load(part_out + row[:, None] * DIM + channels[None, :])
    mixed = tl.sum(parts * weights[:, None], 0) / tl.sum(weights, 0)
    tl.store(out + q_head * DIM + channels, mixed)


class FixedSplit:
    """The published design: every head gets the same number of programs."""

    SPLITS = 64

    def __init__(self, routed_heads=0):
        flags = [1 if head < routed_heads else 0 for head in range(KV_HEADS)]
        self.routed = torch.tensor(flags, dtype=torch.int32, device="cuda")
        rows = KV_HEADS * self.SPLITS * 16
        self.part_out = torch.empty(rows, HEAD_DIM, device="cuda")
        self.part_lse = torch.empty(rows, device="cuda")
        self.out = torch.empty(Q_HEADS, HEAD_DIM, dtype=torch.bfloat16, device="cuda")

    def __call__(self, q, k, v):
        context = k.shape[2]
        rows_each = triton.cdiv(triton.cdiv(context, self.SPLITS), 64) * 64
        split_kernel[(KV_HEADS, self.SPLITS)](
            q, k, v, self.routed, self.part_out, self.part_lse, context, rows_each,
            1 / math.sqrt(HEAD_DIM), GROUP=GROUP, DIM=HEAD_DIM, ROWS=64, SPLITS=self.SPLITS,
            num_warps=4, num_stages=3)
        combine_kernel[(Q_HEADS,)](self.part_out, self.part_lse, self.out, GROUP=GROUP,
                                   DIM=HEAD_DIM, SPLITS=self.SPLITS)
        return self.out.view(1, Q_HEADS, 1, HEAD_DIM)


def sdpa(backend, packed):
    def attend(q, k, v):
        with sdpa_kernel(backend):
            if packed:  # a group's heads are rows of one query of its KV head
                rows = q.view(1, KV_HEADS, GROUP, HEAD_DIM)
                return F.scaled_dot_product_attention(rows, k, v).view_as(q)
            return F.scaled_dot_product_attention(q, k, v, enable_gqa=True)

    return attend


class FlashInferDecode:
    """FlashInfer's paged decode; plan() stands outside what is timed."""

    PAGE = 64

    def __init__(self, flashinfer, use_tensor_cores):
        self.flashinfer = flashinfer
        self.use_tensor_cores = use_tensor_cores
        self.workspace = torch.empty(256 << 20, dtype=torch.uint8, device="cuda")
        self.wrapper = None

    def prepare(self, context):
        pages = context // self.PAGE
        self.indices = torch.arange(pages, dtype=torch.int32, device="cuda")
        indptr = torch.tensor([0, pages], dtype=torch.int32, device="cuda")
        last = torch.tensor([self.PAGE], dtype=torch.int32, device="cuda")
        self.wrapper = self.flashinfer.BatchDecodeWithPagedKVCacheWrapper(
            self.workspace, "HND", use_cuda_graph=True, use_tensor_cores=self.use_tensor_cores,
            paged_kv_indptr_buffer=indptr, paged_kv_indices_buffer=self.indices,
            paged_kv_last_page_len_buffer=last)
        self.wrapper.plan(indptr, self.indices, last, Q_HEADS, KV_HEADS, HEAD_DIM, self.PAGE,
                          q_data_type=torch.bfloat16, kv_data_type=torch.bfloat16)

    def __call__(self, q, k, v):
        # Memory of as many pages, each with all heads; the rows are not those of the other peers.
        shape = (self.indices.numel(), KV_HEADS, self.PAGE, HEAD_DIM)
        return self.wrapper.run(q.view(1, Q_HEADS, HEAD_DIM), (k.view(shape), v.view(shape)))


def time_in_graph(attend, sets, launches):
    """Median microseconds of one call, the inputs taken in turn."""
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for q, k, v in sets[:2]:
            attend(q, k, v)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        for i in range(launches):
            attend(*sets[i % len(sets)])
    times = []
    for replay in range(24):
        begin = torch.cuda.Event(enable_timing=True)
        end = torch.cuda.Event(enable_timing=True)
        begin.record()
        graph.replay()
        end.record()
        end.synchronize()
        if replay >= 3:
            times.append(begin.elapsed_time(end) * 1e3 / launches)
    return statistics.median(times)


def peers():
    yield "flash", sdpa(SDPBackend.FLASH_ATTENTION, False)
    yield "flash packed", sdpa(SDPBackend.FLASH_ATTENTION, True)
    yield "cudnn", sdpa(SDPBackend.CUDNN_ATTENTION, False)
    yield "cudnn packed", sdpa(SDPBackend.CUDNN_ATTENTION, True)
    yield "fixed split", FixedSplit()
    try:
        import flashinfer
    except ImportError:
        print("FlashInfer is not installed: not timed")
    else:
        yield "flashinfer", FlashInferDecode(flashinfer, False)
        yield "flashinfer tensor cores", FlashInferDecode(flashinfer, True)
    for routed in (2, 4, 6, 7):
        yield f"fixed split, {routed} of 8 routed", FixedSplit(routed)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", help="write the results to this file")
    parser.add_argument("--contexts", default="4096,8192,32768,131072,524288,1048576")
    options = parser.parse_args()
    torch.manual_seed(1)
    pool = torch.randn(2, POOL_TOKENS * KV_HEADS * HEAD_DIM, device="cuda", dtype=torch.bfloat16)
    query = torch.randn(1, Q_HEADS, 1, HEAD_DIM, device="cuda", dtype=torch.bfloat16)
    results = []
    all_peers = list(peers())
    print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}, Triton {triton.__version__}")
    for context in (int(text) for text in options.contexts.split(",")):
        elements = KV_HEADS * context * HEAD_DIM
        count = min(POOL_TOKENS // context, 16)
        sets = [(query, *(half[i * elements:(i + 1) * elements].view(1, KV_HEADS, context, HEAD_DIM)
                          for half in pool)) for i in range(count)]
        size = elements * 4
        launches = max(2, count, min(200, int(4000 / (size / 3e6 + 5))))
        expected = None
        for name, attend in all_peers:
            try:
                if hasattr(attend, "prepare"):
                    attend.prepare(context)
                if "routed" not in name and "flashinfer" not in name:
                    out = attend(*sets[0]).float()
                    expected = out if expected is None else expected
                    error = ((out - expected).norm() / expected.norm()).item()
                    if not error < 2e-2:
                        raise RuntimeError(f"differs from the first peer by {error:.3g}")
                microseconds = time_in_graph(attend, sets, launches)
            except (RuntimeError, TypeError, ValueError) as problem:
                print(f"{context:>8} {name:<28} failed: {str(problem).splitlines()[0][:100]}")
                continue
            results.append({"peer": name, "context": context, "median_us": microseconds})
            print(f"{context:>8} {name:<28} {microseconds:>9.2f} us {size / microseconds / 1e3:>6.0f}"
                  " GB/s of dense", flush=True)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"device": torch.cuda.get_device_name(), "torch": torch.__version__,
                       "triton": triton.__version__, "results": results}, file, indent=1)


if __name__ == "__main__":
    main()
