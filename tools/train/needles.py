"""Facts and questions from eval/needle_wordings.json, as text and as tokens."""

import json
import re
from pathlib import Path

PLACEHOLDER = re.compile(r"( ?\{\w+\})")


class Wordings:
    def __init__(self, path):
        raw = json.loads(Path(path).read_text())
        if raw["version"] != 1:
            raise SystemExit(f"{path}: unknown version {raw['version']}")
        self.around_line = (raw["line_fact_prefix"], raw["line_fact_suffix"])
        self.around_sentence = (
            raw["sentence_fact_prefix"],
            raw["sentence_fact_suffix"],
        )
        self.question_prefix = raw["question_prefix"]
        self.answer_prefix = raw["answer_prefix"]
        self.answer_stop = raw["answer_stop"]
        self.keys = raw["keys"]
        self.values = raw["values"]
        self.all = raw["wordings"]

    def in_sets(self, *names):
        return [w for w in self.all if w["set"] in names]

    def draw_value(self, wording, rng):
        kind = self.values[wording["value"]]
        if kind["kind"] == "digits":
            return "".join(rng.choice("0123456789") for _ in range(kind["length"]))
        return rng.choice(kind["items"])


def draw_facts(wordings, choices, count, rng, distinct_keys=False):
    """Up to count (wording, key, value); no two answer the same question.

    distinct_keys: no two share a key either. rng is a random.Random.
    """
    facts, seen = [], set()
    for _ in range(count * 8):
        if len(facts) == count:
            break
        wording = rng.choice(choices)
        key = rng.choice(wordings.keys[wording["key"]])
        mark = key if distinct_keys else (wording["fact"], key)
        if mark in seen:
            continue
        seen.add(mark)
        facts.append((wording, key, wordings.draw_value(wording, rng)))
    return facts


def fact_text(fact):
    wording, key, value = fact
    return wording["fact"].replace("{key}", key).replace("{value}", value)


def question_text(fact):
    wording, key, _ = fact
    return wording["question"].replace("{key}", key)


SPOT = re.compile(r"\n(?=[^\n\r])|[.?!](?= [A-Z])")


def hide_facts(wordings, text, facts):
    """text with the facts at evenly spread depths. Returns (document, depth of each fact)."""
    return hide_lines(wordings, text, [fact_text(fact) for fact in facts])


def hide_lines(wordings, text, lines):
    spots = [m.end() for m in SPOT.finditer(text)]
    if len(spots) < len(lines):
        raise ValueError("the text has fewer lines and sentences than there are facts")
    pieces, depths, last, low = [], [], 0, 0
    for i, line in enumerate(lines):
        target = (i + 0.5) / len(lines) * len(text)
        # The first free spot at or past the target; leave one for each later fact.
        high = len(spots) - (len(lines) - i)
        at = low
        while at < high and spots[at] < target:
            at += 1
        low, spot = at + 1, spots[at]
        prefix, suffix = wordings.around_line if text[spot - 1] == "\n" else wordings.around_sentence
        pieces += [text[last:spot], prefix + line + suffix]
        depths.append(spot / len(text))
        last = spot
    pieces.append(text[last:])
    return "".join(pieces).rstrip(), depths


class FactTokens:
    """Token ids of facts and questions, from cached pieces.

    Pieces are cut before the space of a placeholder, where the pre-tokenizer cuts too,
    so the ids are those of the whole text.
    """

    def __init__(self, tokenizer, wordings):
        self.tokenizer = tokenizer
        self.wordings = wordings
        self.cache = {}

    def encode(self, text):
        ids = self.cache.get(text)
        if ids is None:
            ids = self.tokenizer.encode(text, add_special_tokens=False).ids
            if len(self.cache) < 200_000:
                self.cache[text] = ids
        return ids

    def render(self, template, fields):
        """(ids, value flags): the flags mark the tokens of fields whose name starts with `value`."""
        ids, flags = [], []
        for piece in PLACEHOLDER.split(template):
            if not piece:
                continue
            name = piece.strip(" {}") if piece.endswith("}") else ""
            text = piece.replace(f"{{{name}}}", fields[name]) if name in fields else piece
            part = self.digits(text) if text.strip(" ").isdigit() else self.encode(text)
            ids += part
            flags += [name in fields and name.startswith("value")] * len(part)
        return ids, flags

    def digits(self, text):
        """Digits are single tokens, so numbers need no place in the cache."""
        return [i for c in text for i in self.encode(c)]

    def insert(self, piece, at_line):
        """(ids, value flags) of a piece (template, fields) placed at a line's or a sentence's start."""
        before, after = self.wordings.around_line if at_line else self.wordings.around_sentence
        return self.render(before + piece[0] + after, piece[1])

    def question(self, piece):
        return self.render(self.wordings.question_prefix + piece[0], piece[1])[0]

    def answer(self, piece):
        return self.render(*piece)[0]
