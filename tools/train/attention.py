"""Chooses the fastest fused attention by timing it; never the unfused one on a GPU."""

import time

import torch
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel


def _with_backend(backend):
    def attend(q, k, v):
        with sdpa_kernel(backend):
            return F.scaled_dot_product_attention(q, k, v, is_causal=True)

    return attend


def plain_attention(q, k, v):
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def _seconds(attend, rows, length, heads, dim, device, repeats=3):
    q, k, v = (
        torch.randn(rows, length, heads, dim, device=device, dtype=torch.bfloat16)
        .transpose(1, 2)
        .requires_grad_()
        for _ in range(3)
    )
    grad = torch.randn_like(q)
    for i in range(repeats + 1):
        if i == 1:
            torch.cuda.synchronize()
            start = time.perf_counter()
        attend(q, k, v).backward(grad)
    torch.cuda.synchronize()
    return (time.perf_counter() - start) / repeats


def choose_attention(config, device, tokens, lengths):
    """Returns attend(q, k, v) that uses the fastest backend at each length."""
    if device.type != "cuda":
        return plain_attention
    candidates = {
        "cudnn": _with_backend(SDPBackend.CUDNN_ATTENTION),
        "flash": _with_backend(SDPBackend.FLASH_ATTENTION),
    }
    best = {}
    for length in lengths:
        times = {}
        for name, attend in candidates.items():
            try:
                times[name] = _seconds(
                    attend,
                    max(1, tokens // length),
                    length,
                    config.q_heads,
                    config.head_dim,
                    device,
                )
            except RuntimeError as error:
                print(f"attention {name} at {length}: {str(error).splitlines()[0]}")
        name = min(times, key=times.get)
        best[length] = candidates[name]
        shown = ", ".join(f"{n} {1e3 * t:.2f} ms" for n, t in times.items())
        print(f"attention forward and backward at {length}: {shown}", flush=True)

    def attend(q, k, v):
        return best.get(q.shape[2], candidates["flash"])(q, k, v)

    return attend
