"""Muon for the matrices inside the layers, AdamW for embeddings and norms."""

import torch

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


def orthogonalise(matrices, steps=5):
    """Nearest semi-orthogonal matrices, roughly: [count, rows, columns] -> same, singular values near 1."""
    a, b, c = NEWTON_SCHULZ
    x = matrices.bfloat16()
    tall = x.shape[-2] > x.shape[-1]
    if tall:
        x = x.mT
    x = x / (x.float().norm(dim=(-2, -1), keepdim=True) + 1e-7).bfloat16()
    for _ in range(steps):
        gram = x @ x.mT
        poly = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, poly, x, beta=a)
    return x.mT if tall else x


class Muon:
    """parameters: {name: [layers, rows, columns]}. decay is the relative shrink per step at full rate."""

    def __init__(self, parameters, rate, decay, momentum=0.95):
        self.parameters = parameters
        self.rate, self.decay, self.momentum = rate, decay, momentum
        self.moments = {name: torch.zeros_like(p) for name, p in parameters.items()}

    @torch.no_grad()
    def step(self, scale, momentum=None):
        momentum = self.momentum if momentum is None else momentum
        groups = {}
        for name, parameter in self.parameters.items():
            moment = self.moments[name]
            moment.lerp_(parameter.grad, 1 - momentum)
            update = parameter.grad.lerp(moment, momentum)
            groups.setdefault(tuple(parameter.shape[1:]), []).append((parameter, update))
        for shape, members in groups.items():
            whole = orthogonalise(torch.cat([u for _, u in members]))
            rate = self.rate * scale * max(1.0, shape[0] / shape[1]) ** 0.5
            for (parameter, _), update in zip(members, whole.split(members[0][0].shape[0]), strict=True):
                parameter.mul_(1 - self.decay * scale).add_(update.float(), alpha=-rate)

    def state(self):
        return self.moments

    def load(self, state):
        for name, moment in self.moments.items():
            moment.copy_(state[name])


class Adam:
    """AdamW over {name: parameter}; decay only where a parameter has two dimensions or more."""

    def __init__(self, parameters, rate, decay, betas=(0.9, 0.95)):
        self.parameters = parameters
        self.rate, self.decay, self.betas = rate, decay, betas
        self.count = 0
        self.first = {n: torch.zeros_like(p) for n, p in parameters.items()}
        self.second = {n: torch.zeros_like(p) for n, p in parameters.items()}

    @torch.no_grad()
    def step(self, scale, momentum=None):
        self.count += 1
        fast, slow = self.betas
        for name, parameter in self.parameters.items():
            first, second = self.first[name], self.second[name]
            first.lerp_(parameter.grad, 1 - fast)
            second.lerp_(parameter.grad.square(), 1 - slow)
            step = first / (1 - fast**self.count)
            step = step / ((second / (1 - slow**self.count)).sqrt() + 1e-10)
            if parameter.ndim > 1:
                parameter.mul_(1 - self.decay * scale)
            parameter.add_(step, alpha=-self.rate * scale)

    def state(self):
        return {"count": self.count, "first": self.first, "second": self.second}

    def load(self, state):
        self.count = state["count"]
        for name in self.parameters:
            self.first[name].copy_(state["first"][name])
            self.second[name].copy_(state["second"][name])


def build_optimizers(model, use_muon=True, rate=None, decay=2.5e-3):
    """decay: of the matrices, relative, per step at full rate. The reserved value channel decays to zero."""
    matrices = {n: getattr(model, n) for n in ("q", "k", "v", "o", "gate", "up", "down")}
    embedding = {"embed": model.embed}
    norms = {n: getattr(model, n) for n in ("norm_attention", "norm_mlp", "norm_final")}
    side = [Adam(embedding, 3e-3, 0.2 * decay), Adam(norms, 3e-3, 0.0)]
    if use_muon:
        return [Muon(matrices, rate or 0.02, decay), *side]
    return [Adam(matrices, rate or 1.5e-3, decay), *side]
