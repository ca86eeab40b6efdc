"""Where the attention mass is: the sink's share, value norms, and pages that routing would need."""

import torch

SUNK = (0.9, 0.99, 0.999)
WINDOW = 64


class SinkMeter:
    """Per layer: shares of (q head, token) pairs over each SUNK on position 0, and |v_0| / mean |v|."""

    def __init__(self, config):
        self.scale = config.head_dim**-0.5
        self.group = config.heads_per_group
        self.layers = config.layers
        self.sunk = [[] for _ in range(config.layers)]
        self.mass = [[] for _ in range(config.layers)]
        self.norm = [[] for _ in range(config.layers)]

    def __call__(self, layer, q, k, v):
        norms = v.float().norm(dim=-1)
        self.norm[layer].append(float((norms[:, 0] / norms.mean(-1)).mean()))
        k = k.repeat_interleave(self.group, 0)
        heads, n = q.shape[0], q.shape[1]
        chunk = max(1, 2**28 // (heads * k.shape[1]))
        mass = 0.0
        sunk = [0.0] * len(SUNK)
        for start in range(1, n, chunk):
            end = min(n, start + chunk)
            scores = (q[:, start:end] @ k[:, :end].mT).float() * self.scale
            later = torch.arange(end, device=q.device) > torch.arange(start, end, device=q.device)[:, None]
            share = scores.masked_fill_(later, float("-inf")).softmax(-1)[..., 0]
            sunk = [c + float((share > bar).sum()) for c, bar in zip(sunk, SUNK)]
            mass += float(share.sum())
        self.sunk[layer].append([count / (heads * (n - 1)) for count in sunk])
        self.mass[layer].append(mass / (heads * (n - 1)))

    def result(self):
        def mean(lists):
            return [round(sum(x) / len(x), 4) for x in lists]

        norm = mean(self.norm)
        shares = {}
        for i, bar in enumerate(SUNK):
            sunk = mean([[s[i] for s in layer] for layer in self.sunk])
            shares[f"share_over_{bar}"] = round(sum(sunk) / len(sunk), 4)
            shares[f"share_over_{bar}_by_layer"] = sunk
        return {
            **shares,
            "mean_sink_mass_by_layer": mean(self.mass),
            "v0_over_mean": round(sum(norm) / len(norm), 4),
            "v0_over_mean_by_layer": norm,
        }


class PageMeter:
    """Pages that must be read to leave at most epsilon of each head's mass unread, per KV head.

    Always read: the page of position 0 and those of the last WINDOW tokens. True masses, so this is
    the least that page routing can read; the router's own metadata is not counted.
    """

    def __init__(self, config, pages=(64, 32), epsilons=(0.02, 0.05), queries=128, tail=512):
        self.config = config
        self.pages, self.epsilons = pages, epsilons
        self.queries, self.tail = queries, tail
        self.read = {(p, e): [[] for _ in range(config.layers)] for p in pages for e in epsilons}
        self.rows = {e: [] for e in epsilons}

    def __call__(self, layer, q, k, v):
        c = self.config
        n = k.shape[1]
        at = torch.arange(n - self.tail, n, self.tail // self.queries, device=q.device)
        k = k.repeat_interleave(c.heads_per_group, 0)
        scores = (q[:, at] @ k.mT).float() * c.head_dim**-0.5
        scores.masked_fill_(torch.arange(n, device=q.device) > at[:, None], float("-inf"))
        mass = scores.softmax(-1)
        for epsilon in self.epsilons:
            self.rows[epsilon].append(self._share(mass, at, 1, epsilon))
            for page in self.pages:
                padded = torch.nn.functional.pad(mass, (0, -n % page))
                paged = padded.unflatten(-1, (-1, page)).sum(-1)
                self.read[page, epsilon][layer].append(self._share(paged, at, page, epsilon))

    def _share(self, mass, at, page, epsilon):
        c = self.config
        index = torch.arange(mass.shape[-1], device=mass.device)
        causal = index <= at[:, None] // page
        first = 0 if page > 1 else 31
        kept = ((index <= first) | (index >= (at[:, None] - WINDOW + 1) // page)) & causal
        rest = mass.masked_fill(kept, 0)
        ordered, order = rest.sort(-1, descending=True)
        # A page is needed while what it and all smaller ones hold is over epsilon.
        needed = ordered.flip(-1).cumsum(-1).flip(-1) > epsilon
        chosen = torch.zeros_like(needed).scatter(-1, order, needed)
        union = chosen.view(c.kv_heads, c.heads_per_group, *chosen.shape[1:]).any(1) | kept
        return float((union.sum(-1) / causal.sum(-1)).mean())

    def result(self):
        def mean(values):
            return sum(values) / len(values)

        out = {
            f"page_{page}_epsilon_{epsilon}": round(mean([mean(x) for x in layers]), 4)
            for (page, epsilon), layers in self.read.items()
        }
        out |= {f"rows_epsilon_{e}": round(mean(v), 4) for e, v in self.rows.items()}
        page, epsilon = self.pages[0], self.epsilons[0]
        out["by_layer"] = [round(mean(x), 3) for x in self.read[page, epsilon]]
        return out
