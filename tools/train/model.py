"""The training model: Llama in Hugging Face's convention, with the sink's mass readable.

The last value channel of each KV head is reserved: it is 0 at position 0 and 1 elsewhere, so the
last channel of a head's attention output is 1 - p_0, the mass off position 0, at no cost in any fused
attention kernel (and not rounded to nothing near 0, as p_0 near 1 is in bf16). The channel is cleared
before the output projection; export.py sets its weights to zero, which leaves an ordinary checkpoint.

Tokens are kept flat ([rows * length, ...]), so that the compiled parts see one shape at every
context length and only the attention call sees rows.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

from breadth import breadth_penalty
from sinks import closed_pairs, sink_penalty, sink_value_penalty

FLAT_WEIGHTS = ("q", "k", "v", "o", "gate", "up", "down")


class Llama(nn.Module):
    """fp32 master weights, stacked over layers."""

    def __init__(self, config):
        super().__init__()
        self.config = c = config
        wide, narrow = c.q_heads * c.head_dim, c.kv_heads * c.head_dim
        shapes = {
            "q": (wide, c.hidden),
            "k": (narrow, c.hidden),
            "v": (narrow, c.hidden),
            "o": (c.hidden, wide),
            "gate": (c.ffn, c.hidden),
            "up": (c.ffn, c.hidden),
            "down": (c.hidden, c.ffn),
        }
        for name, shape in shapes.items():
            std = 0.02 / math.sqrt(2 * c.layers) if name in ("o", "down") else 0.02
            setattr(self, name, nn.Parameter(torch.randn(c.layers, *shape) * std))
        self.embed = nn.Parameter(torch.randn(c.vocab, c.hidden) * 0.02)
        self.norm_attention = nn.Parameter(torch.ones(c.layers, c.hidden))
        self.norm_mlp = nn.Parameter(torch.ones(c.layers, c.hidden))
        self.norm_final = nn.Parameter(torch.ones(c.hidden))

    def half(self, dtype):
        """The weights in the compute type, one tensor per layer."""
        qkv = torch.cat([self.q, self.k, self.v], 1).to(dtype).unbind(0)
        gate_up = torch.cat([self.gate, self.up], 1).to(dtype).unbind(0)
        return {
            "embed": self.embed.to(dtype),
            "qkv": qkv,
            "gate_up": gate_up,
            "o": self.o.to(dtype).unbind(0),
            "down": self.down.to(dtype).unbind(0),
            "norm_attention": self.norm_attention.unbind(0),
            "norm_mlp": self.norm_mlp.unbind(0),
            "norm_final": self.norm_final,
        }


def rms_norm(x, weight, eps):
    wide = x.float()
    return (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps) * weight).to(x.dtype)


def rope_tables(config, length, device):
    """cos and sin, [length, head_dim], halves repeated as in Hugging Face's Llama."""
    steps = torch.arange(0, config.head_dim, 2, device=device, dtype=torch.float64)
    frequencies = config.rope_theta ** (-steps / config.head_dim)
    angles = torch.arange(length, device=device, dtype=torch.float64)[:, None] * frequencies
    angles = torch.cat([angles, angles], -1)
    return angles.cos().float(), angles.sin().float()


def rotate(x, cos, sin):
    first, second = x.float().chunk(2, -1)
    turned = torch.cat([-second, first], -1)
    return (x.float() * cos[:, None] + turned * sin[:, None]).to(x.dtype)


class TrainingGraph:
    """Forward pass and loss. attend(q, k, v) takes [rows, heads, length, dim]."""

    def __init__(self, config, attend, compile_parts, most_rows):
        self.config, self.most_rows = config, most_rows
        self.attend = attend
        wrap = torch.compile if compile_parts else (lambda f, **_: f)
        self.before = wrap(self._before_attention, dynamic=False)
        self.after = wrap(self._after_attention, dynamic=False)
        self.head = wrap(self._head_losses, dynamic=False)
        self.tables = {}
        # Share of residual updates dropped, share of pairs that the gate applies to; both 0 to measure.
        self.dropout = self.gated = 0.0
        self.measures_breadth = True

    def positions(self, rows, length, device):
        """cos, sin, "is position 0" and the row, for rows * length flat tokens."""
        key = (rows, length)
        if key not in self.tables:
            cos, sin = rope_tables(self.config, length, device)
            first = torch.zeros(rows, length, device=device)
            first[:, 0] = 1
            row = torch.arange(rows, device=device).repeat_interleave(length)
            self.tables[key] = (cos.repeat(rows, 1), sin.repeat(rows, 1), first.flatten(), row)
        return self.tables[key]

    def _before_attention(self, x, qkv, norm, cos, sin, first):
        c = self.config
        tokens = x.shape[0]
        out = (rms_norm(x, norm, c.norm_eps) @ qkv.t()).view(tokens, -1, c.head_dim)
        q, k, v = out.split([c.q_heads, c.kv_heads, c.kv_heads], 1)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        penalty = sink_value_penalty(v[..., :-1], first)
        mark = (1 - first).to(v.dtype)[:, None, None].expand(tokens, c.kv_heads, 1)
        v = torch.cat([v[..., :-1], mark], -1)
        return q, self._expand(k), self._expand(v), penalty

    def _expand(self, x):
        tokens, heads, dim = x.shape
        group = self.config.heads_per_group
        return x[:, :, None].expand(tokens, heads, group, dim).reshape(tokens, heads * group, dim)

    def _drop(self, update, share):
        kept = torch.rand_like(update, dtype=torch.float32) >= share
        return torch.where(kept, update / (1 - share).to(update.dtype), 0)

    def _after_attention(self, x, attended, sink_values, row, shares, o, gate_up, down, norm, first):
        """sink_values [rows or more, q heads, dim]: v_0, which pairs with a closed gate get."""
        c = self.config
        tokens = x.shape[0]
        dropout, gated = shares
        away = attended[..., -1].float()
        penalty, sunk = sink_penalty(away, 1 - first, c.kv_heads)
        closed = closed_pairs(away.detach(), 1 - first, gated)
        attended = torch.where(closed[..., None], sink_values[row], attended)
        kept = torch.arange(c.head_dim, device=x.device) < c.head_dim - 1
        attended = attended * kept.to(attended.dtype)
        x = x + self._drop(attended.reshape(tokens, -1) @ o.t(), dropout)
        gate, up = (rms_norm(x, norm, c.norm_eps) @ gate_up.t()).chunk(2, -1)
        return x + self._drop((F.silu(gate) * up) @ down.t(), dropout), penalty, sunk

    def _head_losses(self, x, norm, embed, targets, weights):
        """Weighted loss, and the plain sums over text (weight 1) and answers (above 1)."""
        logits = (rms_norm(x, norm, self.config.norm_eps) @ embed.t()).float()
        loss = F.cross_entropy(logits, targets, reduction="none")
        weights = weights.float()
        text = (weights == 1).float()
        answer = (weights > 1).float()
        seen = torch.stack([(loss * text).sum(), (loss * answer).sum()])
        return (loss * weights).sum(), seen.detach()

    def __call__(self, weights, tokens, target_weights, chunks=4):
        """tokens [rows, length + 1]. Returns scalars by name; `loss` and the penalties have gradients."""
        c = self.config
        rows, length = tokens.shape[0], tokens.shape[1] - 1
        cos, sin, first, row = self.positions(rows, length, tokens.device)
        shares = torch.tensor([self.dropout, self.gated]).to(tokens.device, non_blocking=True).unbind(0)
        x = F.embedding(tokens[:, :-1].reshape(-1), weights["embed"])
        penalty = sunk = breadth = 0.0
        needed, value_penalties = [], []
        for layer in range(c.layers):
            q, k, v, value_penalty = self.before(
                x,
                weights["qkv"][layer],
                weights["norm_attention"][layer],
                cos,
                sin,
                first,
            )
            q, k, v = (t.view(rows, length, c.q_heads, c.head_dim).transpose(1, 2) for t in (q, k, v))
            if self.measures_breadth:
                layer_breadth, layer_needed = breadth_penalty(q, k, c.kv_heads)
                breadth = breadth + layer_breadth / c.layers
                needed.append(layer_needed)
            attended = self.attend(q, k, v).transpose(1, 2).reshape(rows * length, c.q_heads, c.head_dim)
            # Always of one shape, so that nothing is compiled anew for another context length.
            v_0 = F.pad(v[:, :, 0].detach(), (0, 0, 0, 0, 0, self.most_rows - rows))
            x, layer_penalty, layer_sunk = self.after(
                x,
                attended,
                v_0,
                row,
                shares,
                weights["o"][layer],
                weights["gate_up"][layer],
                weights["down"][layer],
                weights["norm_mlp"][layer],
                first,
            )
            penalty = penalty + layer_penalty / c.layers
            sunk = sunk + layer_sunk / c.layers
            value_penalties.append(value_penalty)
        targets = tokens[:, 1:].reshape(-1)
        flat_weights = target_weights.reshape(-1)
        total, seen = 0.0, 0.0
        for part in range(chunks):
            at = slice(part * x.shape[0] // chunks, (part + 1) * x.shape[0] // chunks)
            part_total, part_seen = self.head(
                x[at],
                weights["norm_final"],
                weights["embed"],
                targets[at],
                flat_weights[at],
            )
            total = total + part_total
            seen = seen + part_seen
        text_count = (flat_weights == 1).sum().clamp(min=1)
        answer_count = (flat_weights > 1).sum().clamp(min=1)
        needed = torch.stack(needed) if needed else torch.zeros(c.layers, 3)
        return {
            "loss": total / flat_weights.sum().float(),
            "penalty": penalty,
            "breadth": breadth,
            "blocks": needed[:, 0].mean(),
            "blocks_worst": needed[:, 0].max(),
            "rows": needed[:, 1].mean(),
            "hidden": needed[:, 2].mean(),
            "v_0": torch.stack(value_penalties).mean(),
            "v_0_worst": torch.stack(value_penalties).detach().max().sqrt(),
            "sunk": sunk[0].detach(),
            "sunk_99": sunk[1].detach(),
            "sunk_999": sunk[2].detach(),
            "text": seen[0] / text_count,
            "answer": seen[1] / answer_count,
        }
