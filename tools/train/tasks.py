"""Harder tasks than one fact and one question, as text: what is inserted, what is asked, what is right.

A piece of text is (template, fields); a field whose name starts with `value` is random and not
trained on where it is first told.

multi_value   inserted: `One of the NOUNs of KEY is VALUE.`, 2 to 4 times
              question: `What are all NOUNs of KEY? All NOUNs of KEY are`
              answer:   ` V, V, V.` in the order of the text
multi_query   inserted: `The NOUN of KEY is VALUE.` for 2 to 4 keys
              question: `What are the NOUNs of K, K and K? They are`
              answer:   ` V, V, V.` in the order of the question
variables     inserted: `VAR AAA = VALUE.`, then `VAR BBB = VAR AAA.` and so on, 2 to 4 names
              question: `Which variables are equal to VALUE? They are`
              answer:   ` AAA, BBB, CCC.`
common_words  inserted: `Words: w, w, w.`; 3 words come 8 to 12 times, the others once or twice
              question: `Which 3 words are the most common in the list? They are`
              answer:   ` w, w, w.` by first place in the list
passage       inserted: `Passage KEY: TEXT.`, 15 to 60 words
              question: `Repeat passage KEY:`
              answer:   ` TEXT.`
"""

import dataclasses
import string

NOUNS = (
    ("special number", "digits5"),
    ("secret code", "digits6"),
    ("code word", "word"),
    ("colour", "color"),
    ("animal", "animal"),
    ("pin", "digits4"),
)
NAMES = ("multi_value", "multi_query", "variables", "common_words", "passage")


@dataclasses.dataclass
class Item:
    """inserts: pieces for the text, in their order; question and answer: one piece each."""

    inserts: list
    question: tuple
    answer: tuple
    # A long answer would outweigh everything else in a row.
    weight: int | None = None


def fact_item(fact):
    wording, key, value = fact
    fields = {"key": key, "value": value}
    return Item(
        [(wording["fact"], fields)],
        (wording["question"], {"key": key}),
        (wording["answer"], {"value": value}),
    )


def listed(name, count):
    return ",".join(f" {{{name}{i}}}" for i in range(count))


def distinct(draw, count):
    found = []
    while len(found) < count:
        one = draw()
        if one not in found:
            found.append(one)
    return found


class TaskMaker:
    """generator: a Generator, for keys and values."""

    def __init__(self, generator, rng):
        self.generator, self.rng = generator, rng

    def draw(self, name, count):
        """Up to `count` items of one kind that can stand in one text."""
        if name == "common_words":
            return [self.common_words(60 * count)]
        if name == "multi_query":
            return [self.multi_query(noun) for noun in self.rng.sample(NOUNS, min(count, len(NOUNS)))]
        make = getattr(self, name)
        kind = self.rng.choice(["city", "person", "made"])
        keys = distinct(lambda: self.generator.key(kind), count)
        return [make(key) for key in keys]

    def multi_value(self, key):
        noun, kind = self.rng.choice(NOUNS)
        count = self.rng.randrange(2, 5)
        values = distinct(lambda: self.generator.value(kind), count)
        told = f"One of the {noun}s of {{key}} is {{value}}."
        return Item(
            [(told, {"key": key, "value": value}) for value in values],
            (f"What are all {noun}s of {{key}}? All {noun}s of {{key}} are", {"key": key}),
            (listed("value", count) + ".", {f"value{i}": v for i, v in enumerate(values)}),
        )

    def multi_query(self, noun_and_kind):
        noun, value_kind = noun_and_kind
        count = self.rng.randrange(2, 5)
        key_kind = self.rng.choice(["city", "person", "made"])
        keys = distinct(lambda: self.generator.key(key_kind), count)
        values = [self.generator.value(value_kind) for _ in keys]
        inserts = [
            (f"The {noun} of {{key}} is {{value}}.", {"key": k, "value": v}) for k, v in zip(keys, values)
        ]
        self.rng.shuffle(inserts)
        asked = listed("key", count - 1) + f" and {{key{count - 1}}}"
        return Item(
            inserts,
            (f"What are the {noun}s of{asked}? They are", {f"key{i}": k for i, k in enumerate(keys)}),
            (listed("value", count) + ".", {f"value{i}": v for i, v in enumerate(values)}),
        )

    def variables(self, _key):
        rng = self.rng
        count = rng.randrange(2, 5)
        names = distinct(lambda: "".join(rng.choice(string.ascii_uppercase) for _ in range(3)), count)
        value = self.generator.value("digits5")
        inserts = [("VAR {key} = {value}.", {"key": names[0], "value": value})]
        for before, name in zip(names, names[1:]):
            inserts.append(("VAR {key} = VAR {other}.", {"key": name, "other": before}))
        return Item(
            inserts,
            ("Which variables are equal to {value}? They are", {"value": value}),
            (listed("key", count) + ".", {f"key{i}": n for i, n in enumerate(names)}),
        )

    def common_words(self, size):
        rng = self.rng
        size = min(size, 600)
        words = distinct(lambda: self.generator.value("word"), 3 + max(10, size * 2 // 5))
        often, rare = words[:3], words[3:]
        text = often * rng.randrange(8, 13)
        text += [w for w in rare for _ in range(rng.choice([1, 1, 2]))]
        rng.shuffle(text)
        often.sort(key=text.index)
        return Item(
            [("Words: " + ", ".join(text) + ".", {})],
            ("Which 3 words are the most common in the list? They are", {}),
            (listed("key", 3) + ".", {f"key{i}": w for i, w in enumerate(often)}),
        )

    def passage(self, key):
        words = self.generator.span().split()[1:-1][: self.rng.randrange(15, 61)]
        text = " ".join(w for w in words if not set("{}") & set(w)).rstrip(".")
        return Item(
            [(f"Passage {{key}}: {text}.", {"key": key})],
            ("Repeat passage {key}:", {"key": key}),
            (f" {text}.", {}),
            2,
        )
