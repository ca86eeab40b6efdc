"""The sink regulariser: what it rewards, and how strongly."""

import torch

# A (q head, token) pair counts as sunk above these masses on position 0.
SUNK = (0.9, 0.99, 0.999)
# Concave: a leftover of 0.01 costs a sixth of full attention, so a head either sinks or attends.
BEND = 0.05
# The gate closes a pair whose mass off the sink is below a threshold drawn from 0 to GATE.
GATE = 0.08


def bent(away):
    return away * (1 + BEND) / (away + BEND)


def sink_penalty(away, counted, kv_heads):
    """away [tokens, q heads]: mass not on the sink; counted [tokens] 0 or 1.

    Returns (penalty, shares of sunk pairs). Half of the penalty is of single heads, half of the mean
    of each group of q heads that share a KV head: a KV row is read if one head of the group needs it.
    """
    group = away.view(away.shape[0], kv_heads, -1).mean(-1)
    total = counted.sum()
    both = 0.5 * bent(away).mean(-1) + 0.5 * bent(group).mean(-1)
    penalty = (both * counted).sum() / total
    shares = [(((away < 1 - bar).float().mean(-1)) * counted).sum() / total for bar in SUNK]
    return penalty, torch.stack(shares)


def closed_pairs(away, counted, share):
    """Pairs that are made to see only the sink, as when a router skips the little mass they have elsewhere.

    share: the part of the pairs that the gate applies to. A head whose signal is in a tiny mass with
    large values loses it, so it learns to attend openly or not at all.
    """
    threshold = GATE * (1 - torch.rand_like(away) / share)
    return (away < threshold) & (counted[:, None] > 0)


def sink_value_penalty(v, first):
    """(|v_0| / root mean square |v|)^2, mean over KV heads; only |v_0| has a gradient."""
    squares = v.float().square().sum(-1)
    sink = (squares * first[:, None]).sum(0) / first.sum()
    return (sink / squares.mean(0).detach()).mean()


class WeightController:
    """Adjusts a penalty's weight so that a measured share settles at the target.

    rising: more weight makes the share larger. Everything stays on the device: no step waits for a
    number.
    """

    def __init__(self, target, device, rising, start=0.10, low=0.005, high=0.40):
        self.target, self.sign = target, 1 if rising else -1
        self.low, self.high = low, high
        self.base = torch.tensor(start, device=device)
        self.share = torch.tensor(0.0 if rising else 1.0, device=device)

    def weight(self):
        """Slow integral part times a fast proportional part."""
        return (self.base * torch.exp(2.0 * self._missing())).clamp(self.low, self.high)

    def update(self, share, seconds):
        """seconds: how long the step took, so that long and short steps weigh by their time."""
        rate = min(1.0, seconds / 4.0)
        self.share += rate * (share - self.share)
        self.base *= torch.exp(0.12 * seconds * self._missing().clamp(-0.15, 0.15))
        self.base.clamp_(self.low, self.high)

    def _missing(self):
        return self.sign * (self.target - self.share)

    def state(self):
        return {"base": float(self.base), "share": float(self.share)}

    def load(self, state):
        self.base.fill_(state["base"])
        self.share.fill_(state["share"])
