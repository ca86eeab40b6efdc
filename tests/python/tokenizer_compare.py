"""Compares SinkRouter's tokenizer with the Python packages on random texts and ids.

    tokenizer_compare.py TOKENIZE_LINES [--count N] [--seed S] TOKENIZER...

A TOKENIZER is a tokenizer.json (compared with `tokenizers`), a SentencePiece tokenizer.model
(compared with `sentencepiece`), or the word stand-ins: small tokenizers trained on the spot, which
between them use every component that SinkRouter supports. A path that begins with shared/ is one
in the folder of real vocabularies (SINKROUTER_SHARED, or ../shared beside the checkout).
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import skip

skip.require("sentencepiece", "tokenizers")

import sentencepiece  # noqa: E402
import tokenizers  # noqa: E402
from tokenizers import (  # noqa: E402
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

LLAMA3_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPACES = " \t\n\r\x0b\x0c\x85\u00a0\u1680\u180e\u2000\u2009\u200b\u2028\u2029\u202f\u3000\ufeff"
MARKS = "\u0301\u0308\u0323\u093f\u0e31\u20dd\ufe0f\u3099\U0001e8d0"
EMOJI = [
    "😶‍🌫️",
    "👩‍👩‍👧‍👦",
    "🦙",
    "🇩🇪",
    "👍🏽",
    "1️⃣",
    "✅",
    "🏳️‍🌈",
    "❤️",
]
WORDS = [
    "the",
    "Hello",
    "world",
    "don't",
    "I'LL",
    "we've",
    "it'\u017f",
    "'s",
    "naïve",
    "Straße",
    "İstanbul",
    "нещо",
    "Ελληνικά",
    "中文",
    "日本語テキスト",
    "한국어",
    "हिन्दी",
    "ไทย",
    "עברית",
    "العربية",
    "កាន់តែពិសេស",
    "def f(x):",
    "http://a.b/c?d=e&f",
    "snake_case",
    "CamelCase",
    "3.14159",
    "1234567",
    "٣٤٥",
    "Ⅷ",
    "½",
    "<s>",
    "</s>",
    "<unk>",
    "<0x41>",
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|eot_id|>",
    "<|im_start|>",
    "<|endoftext|>",
    "<|begin",
    "▁",
    "▁▁",
    "Ġ",
    "Ċ",
    "�",
    "\x00",
    "\x7f",
    "\\",
    '"',
    "<tool>",
    "tool",
]


def random_character(rng):
    kind = rng.randrange(8)
    if kind < 3:
        return chr(rng.randrange(0x20, 0x7F))
    if kind == 3:
        return chr(rng.randrange(0x20))
    if kind == 4:
        return chr(rng.randrange(0x3000))
    if kind == 5:
        return chr(rng.choice([rng.randrange(0xD800), rng.randrange(0xE000, 0x10000)]))
    return chr(rng.randrange(0x10000, rng.choice([0x20000, 0x33480, 0x110000])))


def random_text(rng):
    parts = []
    for _ in range(rng.choice([0, 1, 2, 5, 12, 30])):
        kind = rng.randrange(10)
        if kind < 2:
            parts.append(rng.choice(SPACES) * rng.choice([1, 1, 2, 3, 17]))
        elif kind == 2:
            parts.append("".join(rng.choice("0123456789") for _ in range(rng.randrange(1, 9))))
        elif kind == 3:
            parts.append(rng.choice("aeiouxyzÅé한") + "".join(rng.choices(MARKS, k=rng.randrange(3))))
        elif kind == 4:
            parts.append(rng.choice(EMOJI))
        elif kind < 7:
            parts.append(rng.choice(["", " "]) + rng.choice(WORDS))
        elif kind == 7:
            parts.append(rng.choice("ab .,!'\n") * rng.choice([2, 5, 40]))
        else:
            parts.extend(random_character(rng) for _ in range(rng.randrange(1, 8)))
    return "".join(parts)


class Huggingface:
    def __init__(self, path):
        self.tokenizer = tokenizers.Tokenizer.from_file(str(path))
        self.is_byte_level = isinstance(self.tokenizer.decoder, decoders.ByteLevel)

    def size(self):
        return self.tokenizer.get_vocab_size()

    def encode(self, text, add_special, parse_special):
        self.tokenizer.encode_special_tokens = not parse_special
        return self.tokenizer.encode(text, add_special_tokens=add_special).ids

    def decode(self, ids, skip_special):
        return self.tokenizer.decode(ids, skip_special_tokens=skip_special)


class SentencePiece:
    def __init__(self, path):
        self.processor = sentencepiece.SentencePieceProcessor(model_file=str(path))
        self.is_byte_level = False

    def size(self):
        return self.processor.get_piece_size()

    def encode(self, text, add_special, parse_special):
        del parse_special
        return self.processor.encode(text, add_bos=add_special)

    def decode(self, ids, skip_special):
        del skip_special
        return self.processor.decode(ids)


def ask(program, directory, requests):
    lines = "".join(json.dumps(request) + "\n" for request in requests)
    result = subprocess.run(
        [program, directory], input=lines, capture_output=True, text=True, encoding="utf-8"
    )
    if result.returncode != 0:
        sys.exit(f"{program} {directory}: {result.stderr.strip()}")
    return [json.loads(line) for line in result.stdout.split("\n") if line]


def compare(program, directory, reference, name, count, seed):
    rng = random.Random(f"{seed} {name}")
    is_json = isinstance(reference, Huggingface)
    requests = []
    for _ in range(count):
        requests.append(
            {
                "text": random_text(rng),
                "add_special": rng.random() < 0.5,
                "parse_special": is_json and rng.random() < 0.5,
            }
        )
    answers = ask(program, directory, requests)
    assert len(answers) == len(requests), f"{len(answers)} answers"
    differences = 0
    round_trips = []
    for request, ids in zip(requests, answers):
        expected = reference.encode(**request)
        if ids != expected:
            differences += 1
            if differences <= 5:
                print(f"{name}: {request}\n  ours     {ids}\n  expected {expected}")
        round_trips.append({"ids": expected, "skip_special": not is_json or rng.random() < 0.5})
    if reference.is_byte_level:  # others repair invalid UTF-8 in ways of their own
        for _ in range(count):
            ids = [rng.randrange(reference.size()) for _ in range(rng.randrange(12))]
            round_trips.append({"ids": ids, "skip_special": rng.random() < 0.5})
    texts = ask(program, directory, round_trips)
    for request, text in zip(round_trips, texts):
        expected = reference.decode(**request)
        if text != expected:
            differences += 1
            if differences <= 5:
                print(f"{name}: {request}\n  ours     {text!r}\n  expected {expected!r}")
    print(f"{name}: {count} texts and their ids, seed {seed}: {differences} differences")
    return differences


def corpus(rng):
    return [random_text(rng) for _ in range(1500)] + [" ".join(WORDS)] * 20


def byte_level_stand_in(rng, path, pre_tokenizer, **options):
    tokenizer = tokenizers.Tokenizer(models.BPE(**options))
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=900,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<|begin_of_text|>", "<|end_of_text|>"],
    )
    tokenizer.train_from_iterator(corpus(rng), trainer)
    tokenizer.add_special_tokens(
        [
            tokenizers.AddedToken("<|eot_id|>", lstrip=True, rstrip=True),
            tokenizers.AddedToken("</s>", rstrip=True),
        ]
    )
    tokenizer.add_tokens(
        [
            tokenizers.AddedToken("tool", single_word=True, normalized=False),
            tokenizers.AddedToken("<tool>", lstrip=True, normalized=True),
        ]
    )
    tokenizer.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(
                single="<|begin_of_text|> $A <|end_of_text|>",
                special_tokens=[("<|begin_of_text|>", 0), ("<|end_of_text|>", 1)],
            ),
        ]
    )
    tokenizer.save(str(path))


def sentence_piece_stand_in(rng, path, metaspace, byte_fallback):
    tokenizer = tokenizers.Tokenizer(
        models.BPE(unk_token="<unk>", byte_fallback=byte_fallback, fuse_unk=byte_fallback)
    )
    space = "\u2581"
    if metaspace:
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Metaspace(space, metaspace), pre_tokenizers.Digits(True)]
        )
        tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(space, metaspace)])
    else:
        tokenizer.normalizer = normalizers.Sequence(
            [normalizers.Prepend(space), normalizers.Replace(" ", space)]
        )
        tokenizer.pre_tokenizer = pre_tokenizers.Split(
            tokenizers.Regex(rf"{space}+[^{space}]*"), "contiguous", invert=True
        )
        tokenizer.decoder = decoders.Sequence(
            [
                decoders.Replace(space, " "),
                decoders.ByteFallback(),
                decoders.Fuse(),
                decoders.Strip(" ", 1, 0),
            ]
        )
    trainer = trainers.BpeTrainer(
        vocab_size=1200,
        show_progress=False,
        limit_alphabet=150,
        initial_alphabet=[space],
        special_tokens=["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)],
    )
    tokenizer.train_from_iterator(corpus(rng), trainer)
    description = json.loads(tokenizer.to_str())
    description["added_tokens"] = description["added_tokens"][:3]
    path.write_text(json.dumps(description), encoding="utf-8")


def make_stand_ins(root, seed):
    rng = random.Random(seed)
    regex = tokenizers.Regex
    byte_level = pre_tokenizers.ByteLevel

    def after(*steps):
        return pre_tokenizers.Sequence([*steps, byte_level(add_prefix_space=False, use_regex=False)])

    split = pre_tokenizers.Split
    pre_tokenizer_of = {
        "llama3": after(split(regex(LLAMA3_PATTERN), "isolated")),
        "gpt2": byte_level(add_prefix_space=False),
        "gpt2-prefix": byte_level(add_prefix_space=True),
        "digits": pre_tokenizers.Sequence([pre_tokenizers.Digits(False), byte_level(False)]),
        "removed": after(split(regex(r"\s+"), "removed")),
        "inverted": after(split(regex(r"\p{L}+|\p{N}"), "removed", invert=True)),
        "previous": after(split(regex(r"[,.!\n]"), "merged_with_previous")),
        "next": after(split(" ", "merged_with_next"), split(regex(r"\p{P}|\p{S}"), "isolated")),
        "contiguous": after(split(regex(r"\p{M}"), "contiguous"), split("ab", "isolated")),
    }
    made = []
    for name, pre_tokenizer in pre_tokenizer_of.items():
        made.append(root / name / "tokenizer.json")
        made[-1].parent.mkdir()
        byte_level_stand_in(rng, made[-1], pre_tokenizer, ignore_merges=name == "llama3")
    for name, metaspace, fallback in [
        ("prepend", None, True),
        ("always", "always", True),
        ("first", "first", False),
        ("never", "never", False),
    ]:
        made.append(root / name / "tokenizer.json")
        made[-1].parent.mkdir()
        sentence_piece_stand_in(rng, made[-1], metaspace, fallback)
    return made


def resolve(name):
    if not name.startswith("shared/"):
        return Path(name)
    beside = Path(__file__).resolve().parents[3] / "shared"
    return Path(os.environ.get("SINKROUTER_SHARED", beside)) / "tokenizers" / name[len("shared/") :]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program")
    parser.add_argument("tokenizer", nargs="+")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    arguments = parser.parse_args()

    differences = 0
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        paths = []
        for name in arguments.tokenizer:
            paths += make_stand_ins(root, arguments.seed) if name == "stand-ins" else [resolve(name)]
        for index, path in enumerate(paths):
            if not path.exists():
                skip.skip(f"{path} does not exist")
            is_json = path.name.endswith(".json")
            directory = root / f"link-{index}"
            directory.mkdir()
            (directory / ("tokenizer.json" if is_json else "tokenizer.model")).symlink_to(path.resolve())
            reference = Huggingface(path) if is_json else SentencePiece(path)
            name = f"{path.parent.name}/{path.name}"
            differences += compare(
                arguments.program, str(directory), reference, name, arguments.count, arguments.seed
            )
    sys.exit(1 if differences else 0)


if __name__ == "__main__":
    main()
