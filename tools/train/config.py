"""The model's shape, read from the Hugging Face config.json beside the exported weights."""

import dataclasses
import json
from pathlib import Path

BOS_ID = 0
EOS_ID = 1


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    vocab: int
    hidden: int
    ffn: int
    layers: int
    q_heads: int
    kv_heads: int
    head_dim: int
    rope_theta: float
    norm_eps: float
    max_positions: int

    @property
    def heads_per_group(self):
        return self.q_heads // self.kv_heads


def load_config(folder):
    raw = json.loads((Path(folder) / "config.json").read_text())
    theta = raw.get("rope_theta") or raw["rope_parameters"]["rope_theta"]
    return ModelConfig(
        vocab=raw["vocab_size"],
        hidden=raw["hidden_size"],
        ffn=raw["intermediate_size"],
        layers=raw["num_hidden_layers"],
        q_heads=raw["num_attention_heads"],
        kv_heads=raw["num_key_value_heads"],
        head_dim=raw["head_dim"],
        rope_theta=float(theta),
        norm_eps=raw["rms_norm_eps"],
        max_positions=raw["max_position_embeddings"],
    )
