#!/usr/bin/env python3
"""Makes the demo's document: licence texts of a Debian machine with facts hidden in them.

Writes DIR/document.txt, DIR/short.txt (the first part of a document, for a quick look at the heads)
and DIR/question.json: the question, the expected value, every fact and its depth. The same seed
gives the same files. Standard library only.
"""

import argparse
import json
import random
import re
import sys
from pathlib import Path

LICENCES = Path("/usr/share/common-licenses")
# The embedded model's tokenizer makes about 3.2 characters of licence text one token.
DOCUMENT_CHARACTERS = 108_000
SHORT_CHARACTERS = 26_000
FACTS = 8


def licence_text(characters):
    """The licence texts one after another, each once, again from the start if they run out."""
    files = sorted({path.resolve() for path in LICENCES.glob("*") if path.is_file()})
    texts = [path.read_text(encoding="utf-8", errors="replace") for path in files]
    whole = "\n\n".join(text.strip("\n") for text in texts) + "\n\n"
    if not whole.strip():
        sys.exit(f"demo_document: no licence texts in {LICENCES}; is base-files installed?")
    repeats = -(-characters // len(whole))
    return (whole * repeats)[:characters]


def draw_value(kind, rng):
    if kind["kind"] == "digits":
        return "".join(rng.choice("0123456789") for _ in range(kind["length"]))
    return rng.choice(kind["items"])


def draw_facts(wordings, count, rng):
    """Facts in different wordings about different keys, with the question and value of each."""
    facts, used = [], set()
    standard = [w for w in wordings["wordings"] if w["set"] == "standard"]
    for wording in rng.sample(standard, min(count, len(standard))):
        key = rng.choice([k for k in wordings["keys"][wording["key"]] if k not in used])
        value = draw_value(wordings["values"][wording["value"]], rng)
        used.add(key)
        facts.append(
            {
                "fact": wording["fact"].replace("{key}", key).replace("{value}", value),
                "question": wording["question"].replace("{key}", key),
                "value": value,
            }
        )
    return facts


def hide(text, facts, wordings):
    """Puts the facts, evenly spread, at starts of lines and ends of sentences; notes each depth."""
    spots = [(m.end(), "line") for m in re.finditer(r"\n(?=[^\n\r])", text)]
    spots += [(m.end(), "sentence") for m in re.finditer(r"[.?!](?= [A-Z])", text)]
    spots.sort()
    pieces, last = [], 0
    for i, fact in enumerate(facts):
        target = (i + 0.5) / len(facts) * len(text)
        at, kind = next(spot for spot in spots if spot[0] >= target)
        prefix, suffix = wordings[f"{kind}_fact_prefix"], wordings[f"{kind}_fact_suffix"]
        pieces += [text[last:at], prefix, fact["fact"], suffix]
        fact["depth"] = round(at / len(text), 3)
        last = at
    return ("".join(pieces) + text[last:]).rstrip()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wordings", type=Path, required=True, help="eval/needle_wordings.json")
    parser.add_argument("--out", type=Path, required=True, help="folder to write into")
    parser.add_argument("--seed", type=int, default=1, help="picks the facts and the question")
    arguments = parser.parse_args()

    wordings = json.loads(arguments.wordings.read_text(encoding="utf-8"))
    rng = random.Random(arguments.seed)
    facts = draw_facts(wordings, FACTS, rng)
    document = hide(licence_text(DOCUMENT_CHARACTERS), facts, wordings)
    asked = rng.choice([fact for fact in facts if fact["value"].isdigit()] or facts)
    short = hide(licence_text(SHORT_CHARACTERS), [dict(asked)], wordings)

    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "document.txt").write_text(document, encoding="utf-8")
    (arguments.out / "short.txt").write_text(short, encoding="utf-8")
    question = {
        "question": wordings["question_prefix"] + asked["question"],
        "value": asked["value"],
        "answer_stop": wordings["answer_stop"],
        "fact": asked["fact"],
        "depth": asked["depth"],
        "facts": facts,
    }
    (arguments.out / "question.json").write_text(json.dumps(question, indent=1), encoding="utf-8")
    print(question["question"], end="")


if __name__ == "__main__":
    main()
