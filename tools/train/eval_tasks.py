"""Accuracy in the tasks of tasks.py, in held-out text: exact match of the whole answer."""

import random

from config import BOS_ID, EOS_ID
from eval_needles import ROOM_FOR_QUESTION
from generated import Generator
from needles import hide_lines
from tasks import NAMES, TaskMaker


def filled(piece):
    text, fields = piece
    for name, value in fields.items():
        text = text.replace(f"{{{name}}}", value)
    return text


def lines_in_order(items):
    """The inserts of all items, mixed, each item's in their order."""
    longest = max(len(item.inserts) for item in items)
    return [filled(item.inserts[i]) for i in range(longest) for item in items if i < len(item.inserts)]


def plain_words(text):
    words = {w for w in text.split() if w.isascii() and w.isalpha() and w.islower() and 3 < len(w) < 10}
    return sorted(words)


def task_accuracy(decoder, tokenizer, wordings, texts, length, documents, count, seed):
    """{task: [right, asked]}"""
    rng = random.Random(seed)
    names = list(texts.sources)
    spans = texts.sources[names[0]]

    def span():
        start = rng.randrange(len(spans) - 400)
        return spans[start : start + 400]

    generator = Generator(wordings, rng, plain_words(spans[:300_000]), span)
    maker = TaskMaker(generator, rng)
    table = {}
    for name in NAMES:
        hits = []
        for i in range(documents):
            items = maker.draw(name, count)
            lines = lines_in_order(items)
            spent = sum(len(tokenizer.encode(line, add_special_tokens=False).ids) + 4 for line in lines)
            text = texts.window(names[i % len(names)], length - 2 * ROOM_FOR_QUESTION - spent)
            document, _ = hide_lines(wordings, text, lines)
            ids = [BOS_ID, *tokenizer.encode(document, add_special_tokens=False).ids]
            decoder.run(ids)
            hits += [is_answered(decoder, tokenizer, wordings, len(ids), item) for item in items]
        table[name] = [sum(hits), len(hits)]
    return table


def is_answered(decoder, tokenizer, wordings, start, item):
    question = tokenizer.encode(
        wordings.question_prefix + filled(item.question), add_special_tokens=False
    ).ids
    wanted = tokenizer.encode(filled(item.answer), add_special_tokens=False).ids
    made = decoder.greedy(question, start, len(wanted), lambda m: m[-1] == EOS_ID or m != wanted[: len(m)])
    return made == wanted
