"""Turns the trained weights into a plain Hugging Face checkpoint (model.safetensors, bf16)."""

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from checkpoint import read_parts
from config import load_config

LAYER_NAMES = {
    "q": "self_attn.q_proj",
    "k": "self_attn.k_proj",
    "v": "self_attn.v_proj",
    "o": "self_attn.o_proj",
    "gate": "mlp.gate_proj",
    "up": "mlp.up_proj",
    "down": "mlp.down_proj",
    "norm_attention": "input_layernorm",
    "norm_mlp": "post_attention_layernorm",
}
OTHER_NAMES = {"embed": "model.embed_tokens.weight", "norm_final": "model.norm.weight"}


def to_hugging_face(weights, config):
    """Names and values of LlamaForCausalLM. The reserved value channel becomes zero."""
    c = config
    value = weights["v"].clone().view(c.layers, c.kv_heads, c.head_dim, c.hidden)
    value[:, :, -1] = 0
    out = weights["o"].clone().view(c.layers, c.hidden, c.q_heads, c.head_dim)
    out[..., -1] = 0
    weights = {
        **weights,
        "v": value.view_as(weights["v"]),
        "o": out.view_as(weights["o"]),
    }
    tensors = {theirs: weights[ours] for ours, theirs in OTHER_NAMES.items()}
    for ours, theirs in LAYER_NAMES.items():
        for layer in range(c.layers):
            tensors[f"model.layers.{layer}.{theirs}.weight"] = weights[ours][layer]
    return {n: t.to(torch.bfloat16).contiguous().clone() for n, t in tensors.items()}


def from_hugging_face(folder, config):
    """The training model's weights, fp32, from a folder that export.py wrote."""
    tensors = load_file(f"{folder}/model.safetensors")
    weights = {ours: tensors[theirs] for ours, theirs in OTHER_NAMES.items()}
    for ours, theirs in LAYER_NAMES.items():
        layers = [tensors[f"model.layers.{i}.{theirs}.weight"] for i in range(config.layers)]
        weights[ours] = torch.stack(layers)
    return {name: weight.float() for name, weight in weights.items()}


def thin_log(entries, keep=400):
    """At most about `keep` entries, the last one among them."""
    stride = max(1, len(entries) // keep)
    return entries[::-1][::stride][::-1]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", required=True, help="folder that train.py wrote with --out")
    parser.add_argument("--model", required=True, help="folder with config.json; the weights go there")
    parser.add_argument("--earlier", help="training_log.json of the weights that training started from")
    args = parser.parse_args()

    config = load_config(args.model)
    weights, progress = read_parts(args.weights)
    tensors = to_hugging_face(weights, config)
    count = sum(t.numel() for t in tensors.values())
    if count > 16_000_000:
        raise SystemExit(f"{count} parameters are more than 16M")
    out = Path(args.model)
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    if args.earlier:
        earlier = json.loads(Path(args.earlier).read_text())
        earlier["log"] = thin_log(earlier["log"], 50)
        progress["earlier"] = earlier
    progress["log"] = thin_log(progress["log"])
    lines = ",\n".join(json.dumps(entry) for entry in progress.pop("log"))
    head = json.dumps(progress)[:-1]
    (out / "training_log.json").write_text(f'{head}, "log": [\n{lines}\n]}}\n')
    print(f"{count} parameters, {(out / 'model.safetensors').stat().st_size} bytes")


if __name__ == "__main__":
    main()
