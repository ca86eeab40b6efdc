"""Measures an exported checkpoint: needles, tasks, perplexity, sinks, and what skipping rows costs."""

import argparse
import json
import math
import random
import time
from pathlib import Path

import torch
from tokenizers import Tokenizer

from config import BOS_ID
from eval_attention import PageMeter, SinkMeter
from eval_needles import Texts, build_document, needle_accuracy
from eval_oracle import needle_cost, text_cost, text_documents
from eval_tasks import task_accuracy
from needles import Wordings, draw_facts, question_text
from prepare_data import load_held_out
from reference import Decoder

DIVIDER = "\n\n\n"
# Haystacks: sources with enough held-out text for documents of any length.
HAYSTACKS = ("pg_classics", "peps", "us_presidents", "openstax_ccby", "code_python")


def perplexity_by_source(decoder, tokenizer, held_out, length, windows):
    """Windows of `length` tokens from the start of each source's held-out text."""
    table = {}
    for name, documents in held_out.items():
        text = DIVIDER.join(documents)
        text = text[: windows * length * 6]
        encoding = tokenizer.encode(text, add_special_tokens=False)
        count = min(windows, len(encoding.ids) // length)
        if count == 0:
            continue
        losses = [
            float(decoder.losses([BOS_ID, *encoding.ids[i * length : (i + 1) * length]]).mean())
            for i in range(count)
        ]
        loss = sum(losses) / count
        used = text[: encoding.offsets[count * length - 1][1]]
        bits = loss * count * length / math.log(2) / len(used.encode())
        table[name] = {
            "perplexity": round(math.exp(loss), 4),
            "bits_per_byte": round(bits, 4),
            "tokens": count * length,
        }
    return table


def perplexity_by_context(decoder, tokenizer, held_out, lengths):
    """The same last 1024 tokens of book windows, with ever more context before them."""
    longest, tail = max(lengths), 1024
    totals = {n: [] for n in lengths}
    for document in held_out["pg_classics"]:
        ids = tokenizer.encode(document[: longest * 6], add_special_tokens=False).ids
        if len(ids) < longest:
            continue
        for n in lengths:
            losses = decoder.losses([BOS_ID, *ids[longest - n : longest]])
            totals[n].append(float(losses[-tail:].mean()))
    return {str(n): round(math.exp(sum(v) / len(v)), 4) for n, v in totals.items() if v} | {
        "books": len(totals[longest])
    }


def watched_documents(tokenizer, wordings, texts, kind, length, count, seed):
    """Token ids of documents to look at; needle documents end with their questions and answers."""
    rng = random.Random(seed)
    for i in range(count):
        if kind == "needles":
            facts = draw_facts(wordings, wordings.in_sets("standard"), 16, rng, distinct_keys=True)
            source = list(texts.sources)[i % len(texts.sources)]
            ids, _, _ = build_document(tokenizer, wordings, texts, source, length - 600, facts)
            for fact in facts:
                text = wordings.question_prefix + question_text(fact)
                text += fact[0]["answer"].replace("{value}", fact[2])
                ids += tokenizer.encode(text, add_special_tokens=False).ids
            yield ids[:length]
        else:
            text = texts.window(kind, length)
            yield [BOS_ID, *tokenizer.encode(text, add_special_tokens=False).ids][:length]


def look_at_attention(decoder, tokenizer, wordings, texts, kinds, length, count, seed):
    table = {}
    for kind in kinds:
        sinks, pages = SinkMeter(decoder.config), PageMeter(decoder.config)

        def watch(layer, q, k, v, meters=(sinks, pages)):
            for meter in meters:
                meter(layer, q, k, v)

        for ids in watched_documents(tokenizer, wordings, texts, kind, length, count, seed):
            decoder.run(ids, watch=watch)
        table[kind] = {**sinks.result(), "read": pages.result()}
    return table


def load_texts(tokenizer, held_out, licences):
    sources = {n: DIVIDER.join(held_out[n]) for n in HAYSTACKS if held_out.get(n)}
    if licences and Path(licences).is_dir():
        names = sorted(p for p in Path(licences).iterdir() if p.is_file() and not p.is_symlink())
        sources["licences"] = "\n\n".join(p.read_text(errors="replace") for p in names)
    return Texts(tokenizer, sources)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True, help="what prepare_data.py wrote")
    parser.add_argument("--wordings", required=True)
    parser.add_argument(
        "--licences",
        default="/usr/share/common-licenses",
        help="legal haystack, never trained on",
    )
    parser.add_argument("--out", required=True, help="JSON file")
    parser.add_argument("--lengths", type=int, nargs="*", default=[4096, 16384, 32768, 65536])
    parser.add_argument("--task-lengths", type=int, nargs="*", default=[4096])
    parser.add_argument("--watch-lengths", type=int, nargs="*", default=[4096, 32768])
    parser.add_argument("--documents", type=int, default=10)
    parser.add_argument("--questions", type=int, default=20)
    parser.add_argument(
        "--side-length",
        type=int,
        default=16384,
        help="length for the other wording sets",
    )
    parser.add_argument("--windows", type=int, default=16, help="perplexity windows of 4K per source")
    parser.add_argument("--window-length", type=int, default=4096)
    parser.add_argument("--watch-count", type=int, default=4)
    parser.add_argument("--oracle-lengths", type=int, nargs="*", default=[4096, 32768])
    parser.add_argument("--oracle-count", type=int, default=6, help="documents per source")
    parser.add_argument("--epsilons", type=float, nargs="*", default=[0.02, 0.05])
    parser.add_argument("--float32", action="store_true")
    parser.add_argument("--seed", type=int, default=20)
    args = parser.parse_args()

    torch.backends.cuda.matmul.allow_tf32 = False
    cuda = torch.cuda.is_available()
    device = torch.device("cuda" if cuda else "cpu")
    dtype = torch.bfloat16 if cuda and not args.float32 else torch.float32
    tokenizer = Tokenizer.from_file(str(Path(args.model) / "tokenizer.json"))
    wordings = Wordings(args.wordings)
    held_out = load_held_out(args.data)
    texts = load_texts(tokenizer, held_out, args.licences)
    decoder = Decoder(args.model, device, dtype)
    report = {
        "device": torch.cuda.get_device_name() if cuda else "cpu",
        "dtype": str(dtype).removeprefix("torch."),
        "torch": torch.__version__,
        "seed": args.seed,
    }
    out = Path(args.out)
    clock = time.perf_counter()

    def note(name, value):
        nonlocal clock
        report[name] = value
        out.write_text(json.dumps(report, indent=1) + "\n")
        now = time.perf_counter()
        print(f"{name} ({now - clock:.0f} s): {json.dumps(value)[:900]}", flush=True)
        clock = now

    def needles(length, documents, sets, seed):
        return needle_accuracy(
            decoder,
            tokenizer,
            wordings,
            texts,
            length,
            documents,
            sets,
            seed,
            args.questions,
        )

    for length in args.oracle_lengths:
        few = max(1, args.oracle_count * 4096 // length)
        documents = list(text_documents(tokenizer, texts, length, few))
        note(f"oracle_rows_{length}", text_cost(decoder, documents, args.epsilons))
    for length in args.oracle_lengths[:1]:
        value = needle_cost(
            decoder,
            tokenizer,
            wordings,
            texts,
            length,
            args.documents,
            args.questions,
            args.epsilons,
            args.seed + length,
        )
        note(f"oracle_rows_needle_{length}", value)
    for length in args.lengths:
        note(
            f"needle_{length}",
            needles(length, args.documents, ("standard",), args.seed + length),
        )
    for name in ("direct", "heldout"):
        note(
            f"needle_{name}_{args.side_length}",
            needles(args.side_length, max(1, args.documents // 2), (name,), args.seed),
        )
    for length in args.task_lengths:
        value = task_accuracy(decoder, tokenizer, wordings, texts, length, args.documents, 5, args.seed)
        note(f"tasks_{length}", value)
    for length in args.watch_lengths:
        kinds = ["pg_classics", "peps", "code_python", "licences", "needles"]
        kinds = [k for k in kinds if k == "needles" or k in texts.sources]
        note(
            f"attention_{length}",
            look_at_attention(
                decoder,
                tokenizer,
                wordings,
                texts,
                kinds,
                length,
                args.watch_count,
                args.seed,
            ),
        )
    licences = {"licences": [texts.sources["licences"]]} if "licences" in texts.sources else {}
    note(
        f"perplexity_{args.window_length}",
        perplexity_by_source(decoder, tokenizer, held_out | licences, args.window_length, args.windows),
    )
    if args.lengths:
        note(
            "perplexity_by_context",
            perplexity_by_context(decoder, tokenizer, held_out, args.lengths),
        )


if __name__ == "__main__":
    main()
