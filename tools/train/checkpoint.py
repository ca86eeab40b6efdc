"""Training state on disk: a full checkpoint, and bf16 weights in small files for transfer."""

import json
from pathlib import Path

import torch

PART_BYTES = 15 * 1024 * 1024


def save_full(folder, model, optimizers, progress):
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    state = {
        "model": model.state_dict(),
        "optimizers": [o.state() for o in optimizers],
        "progress": progress,
    }
    torch.save(state, folder / "full.pt.new")
    (folder / "full.pt.new").replace(folder / "full.pt")
    (folder / "step.txt").write_text(str(progress["step"]))


def saved_step(folder):
    path = Path(folder) / "step.txt"
    return int(path.read_text()) if path.exists() else 0


def load_full(folder, model, optimizers, device):
    """Returns the progress dict, or None where there is no checkpoint."""
    path = Path(folder) / "full.pt"
    if not path.exists():
        return None
    state = torch.load(path, map_location=device, weights_only=True)
    model.load_state_dict(state["model"])
    for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load(saved)
    return state["progress"]


def save_parts(folder, model, progress):
    """bf16 weights in files of at most PART_BYTES, and progress.json."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    parts, size = [{}], 0
    for name, weight in model.state_dict().items():
        half = weight.to("cpu", torch.bfloat16)
        for i, piece in enumerate(half.split(max(1, half.shape[0] // 2))):
            if size + piece.nbytes > PART_BYTES:
                parts.append({})
                size = 0
            parts[-1][f"{name}:{i}"] = piece.clone()
            size += piece.nbytes
    for i, part in enumerate(parts):
        torch.save(part, folder / f"weights.{i}.pt")
    (folder / "progress.json").write_text(json.dumps(progress) + "\n")


def read_parts(folder):
    """{name: bf16 tensor}, progress"""
    folder = Path(folder)
    pieces = {}
    for path in sorted(folder.glob("weights.*.pt")):
        for name, piece in torch.load(path, weights_only=True).items():
            base, i = name.rsplit(":", 1)
            pieces.setdefault(base, {})[int(i)] = piece
    weights = {n: torch.cat([p[i] for i in sorted(p)]) for n, p in pieces.items()}
    return weights, json.loads((folder / "progress.json").read_text())
