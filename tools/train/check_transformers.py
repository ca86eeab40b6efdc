"""Loads the checkpoint with plain transformers and compares its logits with the reference decoder."""

import argparse

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from reference import Decoder


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    args = parser.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    theirs = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32).eval()
    print(type(theirs).__name__, sum(p.numel() for p in theirs.parameters()), "parameters")
    ids = tokenizer("The code of Paris is 4711.\nIt was a dark and stormy night, and the code of").input_ids
    decoder = Decoder(args.model, torch.device("cpu"), torch.float32, room=1024)
    ours = decoder.logits(decoder.run(ids))
    with torch.no_grad():
        wanted = theirs(torch.tensor([ids])).logits[0]
    error = float((ours - wanted).abs().max() / wanted.abs().max())
    print(f"largest difference over largest logit: {error:.2e}")
    made = theirs.generate(torch.tensor([ids]), max_new_tokens=16, do_sample=False)
    print(repr(tokenizer.decode(made[0])))
    if not error < 1e-4:
        raise SystemExit("logits differ")


if __name__ == "__main__":
    main()
