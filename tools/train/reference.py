"""A plain decoder with a KV cache, for evaluation: reads the exported checkpoint."""

import torch
from safetensors.torch import load_file
from torch.nn import functional as F

from config import load_config
from model import rms_norm, rope_tables


class Decoder:
    def __init__(self, folder, device, dtype, room=65536 + 256):
        self.config = c = load_config(folder)
        self.device, self.dtype = device, dtype
        tensors = load_file(f"{folder}/model.safetensors")
        self.w = {n: t.to(device, dtype) for n, t in tensors.items()}
        self.cos, self.sin = rope_tables(c, room, device)
        shape = (c.layers, c.kv_heads, room, c.head_dim)
        self.keys = torch.zeros(shape, device=device, dtype=dtype)
        self.values = torch.zeros(shape, device=device, dtype=dtype)
        # skip(mass, positions) -> mass: leaves rows out, in all but the run that starts at 0.
        self.skip = None

    def _rotate(self, x, start):
        cos = self.cos[start : start + x.shape[1]]
        sin = self.sin[start : start + x.shape[1]]
        first, second = x.float().chunk(2, -1)
        return (x.float() * cos + torch.cat([-second, first], -1) * sin).to(self.dtype)

    def _attend(self, q, layer, start, end):
        """q [q heads, n, dim], keys 0..end already cached."""
        c = self.config
        k, v = self.keys[layer, :, :end], self.values[layer, :, :end]
        if start == 0:
            k, v = (t.repeat_interleave(c.heads_per_group, 0)[None] for t in (k, v))
            return F.scaled_dot_product_attention(q[None], k, v, is_causal=True)[0]
        n = q.shape[1]
        grouped = q.reshape(c.kv_heads, -1, c.head_dim)
        scores = (grouped @ k.mT).float().view(c.q_heads, n, end) * c.head_dim**-0.5
        if n > 1:
            later = torch.arange(end, device=q.device) > torch.arange(start, end, device=q.device)[:, None]
            scores.masked_fill_(later, float("-inf"))
        mass = scores.softmax(-1)
        if self.skip:
            mass = self.skip(mass, torch.arange(start, end, device=q.device))
        mass = mass.to(self.dtype).reshape(c.kv_heads, -1, end)
        return (mass @ v).view(c.q_heads, n, c.head_dim)

    @torch.no_grad()
    def run(self, ids, start=0, watch=None):
        """Final hidden states [n, hidden] of ids, placed at `start` of the cache.

        The cache below `start` is kept, so running again from the same start is a fork.
        watch(layer, q, k, v) sees rotated q [q heads, n, dim] and the cache up to here.
        """
        c = self.config
        x = F.embedding(
            torch.as_tensor(ids, device=self.device),
            self.w["model.embed_tokens.weight"],
        )
        n, end = x.shape[0], start + x.shape[0]
        for layer in range(c.layers):
            w = {
                name: self.w[f"model.layers.{layer}.{name}.weight"]
                for name in (
                    "input_layernorm",
                    "self_attn.q_proj",
                    "self_attn.k_proj",
                    "self_attn.v_proj",
                    "self_attn.o_proj",
                    "post_attention_layernorm",
                    "mlp.gate_proj",
                    "mlp.up_proj",
                    "mlp.down_proj",
                )
            }
            h = rms_norm(x, w["input_layernorm"], c.norm_eps)
            q, k, v = (
                (h @ w[f"self_attn.{p}_proj"].t()).view(n, -1, c.head_dim).transpose(0, 1)
                for p in ("q", "k", "v")
            )
            q = self._rotate(q, start)
            self.keys[layer, :, start:end] = self._rotate(k, start)
            self.values[layer, :, start:end] = v
            if watch:
                watch(layer, q, self.keys[layer, :, :end], self.values[layer, :, :end])
            attended = self._attend(q, layer, start, end).transpose(0, 1).reshape(n, -1)
            x = x + attended @ w["self_attn.o_proj"].t()
            h = rms_norm(x, w["post_attention_layernorm"], c.norm_eps)
            h = F.silu(h @ w["mlp.gate_proj"].t()) * (h @ w["mlp.up_proj"].t())
            x = x + h @ w["mlp.down_proj"].t()
        return rms_norm(x, self.w["model.norm.weight"], c.norm_eps)

    def logits(self, hidden):
        return (hidden @ self.w["model.embed_tokens.weight"].t()).float()

    def losses(self, ids, chunk=8192):
        """Nats of each token after the first."""
        hidden = self.run(ids[:-1])
        targets = torch.as_tensor(ids[1:], device=self.device)
        parts = [
            F.cross_entropy(
                self.logits(hidden[i : i + chunk]),
                targets[i : i + chunk],
                reduction="none",
            )
            for i in range(0, len(targets), chunk)
        ]
        return torch.cat(parts)

    def greedy(self, ids, start, count, stop):
        """Up to count tokens after ids (run at `start`), until stop(generated) is true."""
        made = []
        while len(made) < count:
            hidden = self.run(ids, start)
            start += len(ids)
            made.append(int(self.logits(hidden[-1]).argmax()))
            if stop(made):
                break
            ids = made[-1:]
        return made
