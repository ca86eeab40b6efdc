"""The sink regulariser: what it rewards, and how strongly."""

import torch

# A (q head, token) pair counts as sunk above this mass on position 0.
SUNK = 0.9
# Half of the penalty is linear in the mass not on the sink; the other half saturates per group
# of q heads that share a KV head: it pushes groups that nearly sink as a whole to do so, and
# leaves alone the groups that use their context. A KV row is read if one head of the group needs it.
BEND = 0.2


def sink_penalty(sink_mass, counted, kv_heads):
    """sink_mass [tokens, q heads]; counted [tokens] 0 or 1. Returns (penalty, share of sunk pairs)."""
    away = 1 - sink_mass
    group = away.view(away.shape[0], kv_heads, -1).mean(-1)
    bent = group * (1 + BEND) / (group + BEND)
    total = counted.sum()
    penalty = ((0.5 * away.mean(-1) + 0.5 * bent.mean(-1)) * counted).sum() / total
    sunk = (((sink_mass > SUNK).float().mean(-1)) * counted).sum() / total
    return penalty, sunk


class SinkController:
    """Adjusts lambda so that the share of sunk pairs settles at the target.

    Everything stays on the device: no step waits for a number.
    """

    def __init__(self, target, device, start=0.06, low=0.01, high=0.40):
        self.target = target
        self.low, self.high = low, high
        self.base = torch.tensor(start, device=device)
        self.share = torch.tensor(0.0, device=device)

    def weight(self):
        """lambda: slow integral part times a fast proportional part."""
        error = self.target - self.share
        return (self.base * torch.exp(2.0 * error)).clamp(self.low, self.high)

    def update(self, share, seconds):
        """seconds: how long the step took, so that long and short steps weigh by their time."""
        rate = min(1.0, seconds / 4.0)
        self.share += rate * (share - self.share)
        error = (self.target - self.share).clamp(-0.15, 0.15)
        self.base *= torch.exp(0.12 * seconds * error)
        self.base.clamp_(self.low, self.high)

    def state(self):
        return {"base": float(self.base), "share": float(self.share)}

    def load(self, state):
        self.base.fill_(state["base"])
        self.share.fill_(state["share"])
