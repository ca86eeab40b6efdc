"""What skipping rows by their true mass costs: the best that any router of rows could do."""

import math
import random

import torch

from config import BOS_ID
from eval_needles import ask, build_document, is_right
from needles import draw_facts

FIRST, WINDOW = 32, 64


class OracleRows:
    """Drops a q head's rows of least mass, up to epsilon of its mass in all; keeps the first and the last."""

    def __init__(self, config, epsilon):
        self.config, self.epsilon = config, epsilon
        self.shares = []

    def __call__(self, mass, at):
        """mass [q heads, n, rows], of queries at positions `at`. Returns it with the rest scaled to one."""
        index = torch.arange(mass.shape[-1], device=mass.device)
        always = (index < FIRST) | (index > at[:, None] - WINDOW)
        ordered, order = mass.masked_fill(always, 0).sort(-1)
        wanted = ordered.cumsum(-1) > self.epsilon
        chosen = torch.zeros_like(wanted).scatter(-1, order, wanted) | always
        seen = index <= at[:, None]
        # A row is read if one q head of its group wants it.
        groups = (chosen & seen).view(self.config.kv_heads, -1, *chosen.shape[1:]).any(1)
        self.shares.append(float((groups.sum(-1) / seen.sum(-1)).mean()))
        mass = mass.masked_fill(~chosen, 0)
        return mass / mass.sum(-1, keepdim=True)

    def share(self):
        return round(sum(self.shares) / len(self.shares), 4)


def text_cost(decoder, documents, epsilons, tail=256):
    """Perplexity of each document's last `tail` tokens, dense and with rows dropped."""
    sinks = {e: OracleRows(decoder.config, e) for e in epsilons}
    losses = {e: [] for e in [None, *epsilons]}
    for ids in documents:
        start = len(ids) - 1 - tail
        decoder.run(ids[:start])
        targets = torch.as_tensor(ids[start + 1 :], device=decoder.device)
        for epsilon in losses:
            decoder.skip = sinks.get(epsilon)
            logits = decoder.logits(decoder.run(ids[start:-1], start))
            losses[epsilon].append(float(torch.nn.functional.cross_entropy(logits, targets)))
    decoder.skip = None
    mean = {e: sum(x) / len(x) for e, x in losses.items()}
    table = {"documents": len(documents), "dense_perplexity": round(math.exp(mean[None]), 4)}
    for e in epsilons:
        cost = math.exp(mean[e] - mean[None]) - 1
        table[f"epsilon_{e}"] = {"perplexity_cost": round(cost, 5), "rows": sinks[e].share()}
    return table


def needle_cost(decoder, tokenizer, wordings, texts, length, count, questions, epsilons, seed):
    """Needles found dense and with rows dropped; lost: found dense only."""
    rng = random.Random(seed)
    sinks = {e: OracleRows(decoder.config, e) for e in epsilons}
    right = {e: [] for e in [None, *epsilons]}
    names = list(texts.sources)
    for i in range(count):
        facts = draw_facts(wordings, wordings.in_sets("standard"), questions, rng, distinct_keys=True)
        ids, _, _ = build_document(tokenizer, wordings, texts, names[i % len(names)], length, facts)
        decoder.run(ids)
        for fact in facts:
            for epsilon in right:
                decoder.skip = sinks.get(epsilon)
                answer = ask(decoder, tokenizer, wordings, len(ids), fact)
                right[epsilon].append(is_right(wordings, answer, fact[2]))
    decoder.skip = None
    dense = right[None]
    table = {"questions": len(dense), "dense_accuracy": sum(dense) / len(dense)}
    for e in epsilons:
        lost = sum(a and not b for a, b in zip(dense, right[e]))
        table[f"epsilon_{e}"] = {
            "accuracy": sum(right[e]) / len(dense),
            "lost": lost,
            "rows": sinks[e].share(),
        }
    return table


def text_documents(tokenizer, texts, length, count):
    """`count` documents of `length` + 1 tokens of every source."""
    for name in texts.sources:
        for _ in range(count):
            text = texts.window(name, length + 64)
            yield [BOS_ID, *tokenizer.encode(text, add_special_tokens=False).ids][: length + 1]
