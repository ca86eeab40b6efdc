#!/usr/bin/env python3
"""Prints what `sinkrouter compare` found in the demo, and judges it.

Exit status 1 when the routed answer is wrong or differs from the dense one, or the document is too
short to show anything. Standard library only.
"""

import argparse
import json
import sys
from pathlib import Path

LONG_ENOUGH = 32768


def answer_of(text, stop):
    """The answer proper: up to the stop text or the end of the line."""
    return text.strip().split("\n")[0].split(stop)[0].strip()


def table(rows):
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]
        print("  " + "   ".join(cells).rstrip())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--compare", type=Path, required=True, help="output of compare --json")
    parser.add_argument("--question", type=Path, required=True, help="question.json")
    arguments = parser.parse_args()
    compared = json.loads(arguments.compare.read_text(encoding="utf-8"))
    asked = json.loads(arguments.question.read_text(encoding="utf-8"))
    dense, routed = compared["dense"], compared["routed"]
    answers = [answer_of(side["text"], asked["answer_stop"]) for side in (dense, routed)]

    def row(label, field, form):
        return (label, *(form.format(side[field]) for side in (dense, routed)))

    tokens, seconds = compared["prompt_tokens"], compared["prefill_seconds"]
    print(f"\n  prompt: {tokens:,} tokens, prefilled in {seconds:.1f} s\n")
    table(
        [
            ("", "dense", f"routed ({routed['policy']})"),
            ("answer", *answers),
            row("decode, tokens/s", "decode_tokens_per_second", "{:.1f}"),
            row("KV bytes read", "kv_read_fraction", "{:.1%}"),
            row("groups routed", "routed_fraction", "{:.1%}"),
        ]
    )
    print(f"\n  expected answer: {asked['value']}   decode speedup: {compared['speedup']:.2f}x\n")

    problems = []
    if compared["prompt_tokens"] < LONG_ENOUGH:
        problems.append(f"the prompt has {compared['prompt_tokens']} tokens, expected {LONG_ENOUGH} at least")
    if answers[1] != asked["value"]:
        problems.append(f"the routed answer is {answers[1]!r}, expected {asked['value']!r}")
    if answers[0] != answers[1]:
        problems.append(f"the dense answer is {answers[0]!r}, the routed one {answers[1]!r}")
    for problem in problems:
        print(f"FAILED: {problem}")
    if not problems:
        print("OK: the routed answer is right and equals dense attention's.")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
