"""The breadth penalty: how much of the cache a router would have to read, for sampled queries.

Fused attention shows no masses, so a few queries of each batch get theirs anew: of blocks, as the
router estimates them from moments of the keys, and of rows, exactly. What a q head needs, under the
rule of policy `margin`, are the granules of largest mass, until at most epsilon is left; t is the
smallest of them. The penalty is log(1 + mass / t), of the q head of a group that wants the granule
most, meaned over granules. What is read costs about alike however large its mass, and what is far
below t costs nothing: a head is paid for looking at fewer places, or for closing altogether, and for
keys whose moments tell what is in a block.
"""

import math

import torch

BLOCK, BLOCK_EPSILON = 32, 0.01
ROW_EPSILON = 0.02
WINDOW = 64
QUERIES = 160
HALVINGS = 13
LEAST_MASS = 1e-9
HIDDEN_WEIGHT = 0.5


def sampled_positions(rows, length, device):
    """[rows, n] positions with a block to choose; about QUERIES in all."""
    count = max(2, QUERIES // rows)
    first = BLOCK + WINDOW + BLOCK
    spread = torch.rand(rows, count, device=device)
    return first + (spread * (length - first)).long()


def times(q, k):
    """q [rows, kv heads, group, n, dim] by k [rows, kv heads, m, dim] -> [rows, kv heads, group, n, m]."""
    return (q.flatten(2, 3) @ k.transpose(-1, -2)).unflatten(2, q.shape[2:4])


def block_log_masses(q, k):
    """[rows, kv heads, group, n, blocks]: second-order expansion of a block's log-sum-exp.

    As in tier 0 of the router, but for the moments' rounding.
    """
    scale, blocks = q.shape[-1] ** -0.5, k.unflatten(2, (-1, BLOCK))
    first = scale * times(q, blocks.mean(3))
    second = 0.5 * scale**2 * times(q.square(), blocks.var(3, correction=0))
    return math.log(BLOCK) + first + second


@torch.no_grad()
def smallest_needed(masses, epsilon):
    """[..., 1]: the largest t for which the masses below t add up to at most epsilon."""
    low = torch.full_like(masses[..., :1], LEAST_MASS).log()
    high = torch.zeros_like(low)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        left = masses.masked_fill(masses >= middle.exp(), 0).sum(-1, keepdim=True)
        enough = left <= epsilon
        low, high = torch.where(enough, middle, low), torch.where(enough, high, middle)
    return low.exp()


def price(masses, epsilon, counted):
    """masses [rows, kv heads, group, n, granules], 0 where nothing can be chosen; counted [rows, 1, n].

    Returns (penalty, the share of granules that a group needs).
    """
    wanted = (masses / smallest_needed(masses, epsilon)).amax(2)
    penalty = (wanted.log1p().sum(-1) / counted).mean()
    return penalty, ((wanted.detach() >= 1).sum(-1) / counted).mean()


def breadth_penalty(q, k, kv_heads):
    """q, k [rows, q heads, length, dim], k repeated for each q head of a group.

    Returns (penalty, the shares of blocks and of rows that a group needs).
    """
    rows, heads, length, dim = q.shape
    at = sampled_positions(rows, length, q.device)
    q = q.gather(2, at[:, None, :, None].expand(rows, heads, at.shape[1], dim))
    q = q.view(rows, kv_heads, -1, at.shape[1], dim).float()
    k = k[:, :: heads // kv_heads].float()
    index = torch.arange(length, device=q.device)
    tail = (at + 1 - WINDOW) // BLOCK * BLOCK
    far = ((index >= BLOCK) & (index < tail[..., None]))[:, None, None]
    logits = (dim**-0.5 * times(q, k)).masked_fill(index > at[:, None, None, :, None], -torch.inf)
    kept = logits.masked_fill(far, -torch.inf).logsumexp(-1, keepdim=True)
    blocks = block_log_masses(q, k).masked_fill(~far[..., ::BLOCK], -torch.inf)
    counted = (tail // BLOCK - 1)[:, None].float()
    estimated = torch.cat([kept, blocks], -1).softmax(-1)[..., 1:]
    rows = logits.softmax(-1) * far
    exact = rows.unflatten(-1, (-1, BLOCK)).sum(-1)
    by_block, blocks_needed = price(torch.maximum(estimated, exact), BLOCK_EPSILON, counted)
    by_row, rows_needed = price(rows, ROW_EPSILON, counted * BLOCK)
    hidden = (exact - estimated).clamp(min=0).sum(-1) / BLOCK_EPSILON
    penalty = (by_block + by_row + HIDDEN_WEIGHT * hidden.log1p().mean()) / 2
    return penalty, torch.stack([blocks_needed, rows_needed, hidden.detach().mean() * BLOCK_EPSILON])
