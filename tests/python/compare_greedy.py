#!/usr/bin/env python3
"""Greedy text of `sinkrouter generate`, dense and in fp32, must be transformers' own."""

import argparse
import json
import pathlib
import random
import subprocess
import sys

from skip import require, skip

require("torch", "transformers")

import torch  # noqa: E402
import transformers  # noqa: E402

PROMPTS = (
    "The first thing to know about the sea is",
    "Once upon a time there was a small village at the foot of a mountain.",
    "This License applies to any program or other work which",
    "In the morning she walked to the market, and",
)


def reference_text(model, tokenizer, prompt, tokens):
    ids = tokenizer(prompt, return_tensors="pt").input_ids
    with torch.no_grad():
        out = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=tokens,
            pad_token_id=0,
        )
    return tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True)


def engine_text(program, directory, prompt, tokens):
    command = [program, "generate", "--model", directory, "--prompt", prompt, "--policy", "dense"]
    command += ["--kv-dtype", "f32", "--max-tokens", tokens, "--ignore-eos", "--json"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        raise RuntimeError(f"{program} failed ({done.returncode}): {done.stderr.strip()}")
    return json.loads(done.stdout)["text"]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sinkrouter", type=pathlib.Path, required=True)
    parser.add_argument("--model", type=pathlib.Path, required=True)
    parser.add_argument("--tokens", type=int, default=64)
    arguments = parser.parse_args()
    if not list(arguments.model.glob("*.safetensors")):
        skip(f"{arguments.model} has no weights")
    tokenizer = transformers.AutoTokenizer.from_pretrained(arguments.model)
    model = transformers.LlamaForCausalLM.from_pretrained(arguments.model, dtype=torch.float32)
    model.generation_config.eos_token_id = None  # as --ignore-eos
    torch.set_num_threads(1)
    different = 0
    for prompt in random.sample(PROMPTS, len(PROMPTS)):
        expected = reference_text(model, tokenizer, prompt, arguments.tokens)
        actual = engine_text(arguments.sinkrouter, arguments.model, prompt, arguments.tokens)
        same = actual == expected
        different += not same
        print(f"{'same' if same else 'DIFFERENT'}: {prompt!r}")
        if not same:
            print(f"  transformers {expected!r}\n  sinkrouter   {actual!r}")
    if different:
        sys.exit(f"{different} of {len(PROMPTS)} texts differ")


if __name__ == "__main__":
    main()
