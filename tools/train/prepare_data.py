"""Splits and tokenises the corpus.

Writes into --out: NAME.N.bin.xz (training tokens, uint16, documents ended by <|end_of_text|>)
and heldout.json.xz ({source: [documents]}), which only evaluation reads.
"""

import argparse
import json
import lzma
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from config import EOS_ID
from corpus import load_corpus

TOKENS_PER_FILE = 2_500_000


def tokenise(tokenizer, documents):
    streams = []
    for document in documents:
        ids = tokenizer.encode(document, add_special_tokens=False).ids
        streams.append(np.array([*ids, EOS_ID], dtype=np.uint16))
    return np.concatenate(streams)


def load_tokens(folder):
    """{source: uint16 tokens} of everything prepare_data wrote to the folder."""
    parts = {}
    for path in sorted(Path(folder).glob("*.bin.xz")):
        name, index = path.name[: -len(".bin.xz")].rsplit(".", 1)
        parts.setdefault(name, {})[int(index)] = path
    return {
        name: np.concatenate(
            [np.frombuffer(lzma.decompress(files[i].read_bytes()), np.uint16) for i in sorted(files)]
        )
        for name, files in parts.items()
    }


def load_held_out(folder):
    raw = lzma.decompress((Path(folder) / "heldout.json.xz").read_bytes())
    return json.loads(raw)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", required=True)
    parser.add_argument("--tokenizer", required=True, help="folder with tokenizer.json")
    parser.add_argument("--out", required=True)
    parser.add_argument("--preset", type=int, default=4, help="xz effort, 0 to 9")
    args = parser.parse_args()

    tokenizer = Tokenizer.from_file(str(Path(args.tokenizer) / "tokenizer.json"))
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    held_out = {}
    for name, (train, held) in load_corpus(args.corpus).items():
        held_out[name] = held
        characters = sum(map(len, train))
        if not train:
            continue
        tokens = tokenise(tokenizer, train)
        for i in range(0, len(tokens), TOKENS_PER_FILE):
            packed = lzma.compress(tokens[i : i + TOKENS_PER_FILE].tobytes(), preset=args.preset)
            (out / f"{name}.{i // TOKENS_PER_FILE}.bin.xz").write_bytes(packed)
        print(f"{name}: {len(tokens)} tokens, {characters / len(tokens):.2f} characters each")
    packed = lzma.compress(json.dumps(held_out).encode(), preset=args.preset)
    (out / "heldout.json.xz").write_bytes(packed)
    print("held out:", {name: sum(map(len, docs)) for name, docs in held_out.items()})


if __name__ == "__main__":
    main()
