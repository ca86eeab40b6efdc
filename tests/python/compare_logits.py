#!/usr/bin/env python3
"""Compares logits with transformers' on freshly generated checkpoints.

The first tokens of each text run as one prefill and the rest one by one, so both paths count.
The error of a case is max |difference| / max |reference|, over all tokens and the vocabulary.
"""

import argparse
import pathlib
import random
import subprocess
import sys
import tempfile

from skip import require

require("numpy", "torch", "transformers")

import numpy  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402

import make_checkpoints  # noqa: E402

TOLERANCE = {"float32": 1e-4, "bfloat16": 2e-2, "float16": 2e-2}


def reference_logits(directory, ids):
    model = transformers.LlamaForCausalLM.from_pretrained(
        directory, dtype=torch.float32, attn_implementation="eager"
    )
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0].numpy()


def engine_logits(program, directory, ids, prefill, out):
    command = [program, "--model", directory, "--ids", ",".join(map(str, ids))]
    command += ["--prefill", str(prefill), "--kv-dtype", "f32", "--out", out]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        raise RuntimeError(f"{program} failed ({done.returncode}): {done.stderr.strip()}")
    logits = numpy.fromfile(out, dtype=numpy.float32)
    return logits.reshape(len(ids), make_checkpoints.VOCAB_SIZE)


def check(case, program, folder, seed):
    generator = random.Random(seed)
    length = generator.randrange(150, 300)
    prefill = generator.randrange(1, length - 40)
    ids = [generator.randrange(2, make_checkpoints.VOCAB_SIZE) for _ in range(length)]
    directory = make_checkpoints.make_checkpoint(case, folder / case.name, seed)
    expected = reference_logits(directory, ids)
    actual = engine_logits(program, directory, ids, prefill, folder / f"{case.name}.f32")
    if not numpy.isfinite(actual).all():
        print(f"{case.name:16} FAILED: logits that are not finite")
        return False
    per_token = numpy.abs(actual - expected).max(axis=1) / numpy.abs(expected).max()
    passed = per_token.max() < TOLERANCE[case.dtype]
    print(
        f"{case.name:16} {'ok' if passed else 'FAILED'}: error {per_token.max():.2e}, allowed "
        f"{TOLERANCE[case.dtype]:.0e}, worst token {per_token.argmax()} of {length}, "
        f"{prefill} prefilled, logit deviation {expected.std():.2f}"
    )
    return passed


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--logits-dump", type=pathlib.Path, required=True)
    parser.add_argument("--case", action="append", help="run only this case (repeatable)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**31))
    arguments = parser.parse_args()
    names = [case.name for case in make_checkpoints.CASES]
    for name in arguments.case or []:
        if name not in names:
            parser.error(f"no case {name!r}, expected one of {', '.join(names)}")
    print(f"seed {arguments.seed} (--seed repeats this run)")
    torch.set_num_threads(1)
    failed = []
    with tempfile.TemporaryDirectory(prefix="sinkrouter-") as folder:
        for index, case in enumerate(make_checkpoints.CASES):
            if arguments.case and case.name not in arguments.case:
                continue
            seed = arguments.seed + index
            if not check(case, arguments.logits_dump, pathlib.Path(folder), seed):
                failed.append(case.name)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
