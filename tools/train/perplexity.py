"""Held-out loss during training, with the training graph."""

import numpy as np
import torch

from config import BOS_ID


def held_out_windows(tokenizer, held_out, length, count):
    """[count, length + 1] tokens: windows spread over every source but those of other corpora."""
    windows = []
    sources = [n for n in held_out if n != "wikitext2_valid"]
    for name in sources:
        wanted = max(1, count // len(sources))
        text = "".join(held_out[name])[: wanted * length * 8]
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        for i in range(min(wanted, len(ids) // length)):
            windows.append([BOS_ID, *ids[i * length : (i + 1) * length]])
    return np.array(windows, dtype=np.int64)


def mean_loss(graph, model, windows, batch_tokens, device):
    """Nats per token; whole batches only, so that compiled shapes are reused."""
    rows = max(1, batch_tokens // (windows.shape[1] - 1))
    losses = []
    settings = graph.dropout, graph.gated, graph.measures_breadth
    graph.dropout, graph.gated, graph.measures_breadth = 0.0, 0.0, False
    for start in range(0, max(1, len(windows) - rows + 1), rows):
        part = windows[start : start + rows]
        if len(part) < rows:
            part = np.resize(part, (rows, windows.shape[1]))
        tokens = torch.from_numpy(part).to(device)
        weights = torch.ones(rows, tokens.shape[1] - 1, dtype=torch.uint8, device=device)
        out = graph(model.half(torch.bfloat16), tokens, weights)
        losses.append(float(out["text"].detach()))
    graph.dropout, graph.gated, graph.measures_breadth = settings
    return sum(losses) / len(losses)
