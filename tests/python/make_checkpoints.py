#!/usr/bin/env python3
"""Random tiny Llama checkpoints, as transformers writes them and as older versions did."""

import argparse
import contextlib
import dataclasses
import json
import pathlib
import random
import shutil

from skip import require

require("torch", "transformers")

import torch  # noqa: E402
import transformers  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOKENIZER = ROOT / "models" / "sinkling-15m"
VOCAB_SIZE = 4096

LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 128,
}
LINEAR = {"rope_type": "linear", "rope_theta": 10000.0, "factor": 3.0}
DEFAULT = {"rope_type": "default", "rope_theta": 10000.0}


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    hidden: int = 128
    q_heads: int = 4
    kv_heads: int = 2
    head_dim: int = 64
    tied: bool = False
    rope: dict = dataclasses.field(default_factory=lambda: DEFAULT)
    dtype: str = "float32"
    shard_size: str = "1GB"
    old_config: bool = False  # config.json as transformers 4 wrote it


CASES = (
    Case("mha", hidden=192, q_heads=3, kv_heads=3),
    Case("gqa-tied", tied=True),
    Case("mqa", kv_heads=1),
    Case("odd-group", hidden=192, q_heads=6, kv_heads=2),
    Case("head-128", q_heads=2, kv_heads=1, head_dim=128),
    Case("llama3-rope", rope=LLAMA3),
    Case("llama3-rope-old", rope=LLAMA3, old_config=True, tied=True),
    Case("linear-rope", rope=LINEAR, head_dim=128),
    Case("linear-rope-old", rope=LINEAR, old_config=True),
    Case("default-old", hidden=256, q_heads=4, old_config=True),
    Case("sharded", shard_size="200KB"),
    Case("bf16", dtype="bfloat16", rope=LLAMA3, shard_size="200KB"),
    Case("bf16-head-128", dtype="bfloat16", head_dim=128, tied=True),
    Case("fp16", dtype="float16", q_heads=8),
)


def llama_config(case):
    return transformers.LlamaConfig(
        vocab_size=VOCAB_SIZE,
        hidden_size=case.hidden,
        intermediate_size=3 * case.hidden // 2,
        num_hidden_layers=3,
        num_attention_heads=case.q_heads,
        num_key_value_heads=case.kv_heads,
        head_dim=case.head_dim,
        max_position_embeddings=4096,
        rms_norm_eps=1e-5,
        tie_word_embeddings=case.tied,
        rope_parameters=dict(case.rope),
        bos_token_id=0,
        eos_token_id=1,
        # Large enough that attention is uneven and logits differ between tokens.
        initializer_range=0.15,
    )


def randomize_norms(model):
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter.copy_(1.0 + 0.2 * torch.randn_like(parameter))


def rewrite_as_transformers_4(path):
    config = json.loads(path.read_text())
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope.pop("rope_theta")
    rope_type = rope.pop("rope_type")
    if rope_type == "default":
        config["rope_scaling"] = None
    else:
        key = "type" if rope_type == "linear" else "rope_type"
        config["rope_scaling"] = {key: rope_type, **rope}
    config["torch_dtype"] = config.pop("dtype")
    if config["head_dim"] * config["num_attention_heads"] == config["hidden_size"]:
        del config["head_dim"]
    config["transformers_version"] = "4.44.0"
    path.write_text(json.dumps(config, indent=2))


def make_checkpoint(case, directory, seed):
    """Writes one checkpoint into `directory`; the same seed gives the same weights."""
    torch.manual_seed(seed)
    model = transformers.LlamaForCausalLM(llama_config(case))
    randomize_norms(model)
    with open(directory.parent / "save.log", "a") as log, contextlib.redirect_stderr(log):
        model.to(getattr(torch, case.dtype)).save_pretrained(directory, max_shard_size=case.shard_size)
    if case.old_config:
        rewrite_as_transformers_4(directory / "config.json")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(TOKENIZER / name, directory / name)
    return directory


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**31))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    print(f"seed {arguments.seed}")
    for index, case in enumerate(CASES):
        print(make_checkpoint(case, arguments.out / case.name, arguments.seed + index))


if __name__ == "__main__":
    main()
