"""Needle accuracy: many facts in a held-out text, each asked from a fork of one prefill."""

import random

from config import BOS_ID, EOS_ID
from needles import draw_facts, hide_facts, question_text

ROOM_FOR_QUESTION = 80


class Texts:
    """Held-out text by source; windows of a wanted number of tokens, from different places."""

    def __init__(self, tokenizer, sources):
        self.tokenizer = tokenizer
        self.sources = sources
        self.next = dict.fromkeys(sources, 0)

    def window(self, name, tokens):
        """Text of just under `tokens` tokens that starts at the start of a line."""
        text = self.sources[name]
        characters = int(tokens * 4.6)
        start = self.next[name]
        if start + characters > len(text):
            start = 0
        start = text.find("\n", start) + 1 if start else 0
        piece = text[start : start + characters]
        while len(piece) < characters:
            piece += "\n\n" + text[: characters - len(piece)]
        offsets = self.tokenizer.encode(piece, add_special_tokens=False).offsets
        piece = piece[: offsets[min(tokens, len(offsets)) - 1][0]]
        self.next[name] = start + len(piece)
        return piece


def build_document(tokenizer, wordings, texts, source, length, facts):
    """Token ids of at most `length` with room for a question, the facts' depths, and the text."""
    room = length - ROOM_FOR_QUESTION - 1
    spent = sum(len(tokenizer.encode(w["fact"], add_special_tokens=False).ids) + 12 for w, _, _ in facts)
    text = texts.window(source, room - spent)
    document, depths = hide_facts(wordings, text, facts)
    ids = [BOS_ID, *tokenizer.encode(document, add_special_tokens=False).ids]
    return ids, depths, document


def is_right(wordings, text, value):
    wanted = wordings.answer_prefix + value
    return text.startswith(wanted) and text[len(wanted) : len(wanted) + 1] in (
        "",
        wordings.answer_stop,
        "\n",
    )


def ask(decoder, tokenizer, wordings, start, fact):
    question = wordings.question_prefix + question_text(fact)
    ids = tokenizer.encode(question, add_special_tokens=False).ids

    def stop(made):
        text = tokenizer.decode(made)
        return made[-1] == EOS_ID or wordings.answer_stop in text or "\n" in text

    made = decoder.greedy(ids, start, 16, stop)
    return tokenizer.decode([i for i in made if i != EOS_ID])


def needle_accuracy(decoder, tokenizer, wordings, texts, length, documents, sets, seed, questions=20):
    """Accuracy over documents * questions, by depth (five bands), wording and source."""
    rng = random.Random(seed)
    choices = wordings.in_sets(*sets)
    names = list(texts.sources)
    hits, tables, misses = [], {"depth": {}, "wording": {}, "source": {}}, []
    for i in range(documents):
        facts = draw_facts(wordings, choices, questions, rng, distinct_keys=True)
        source = names[i % len(names)]
        ids, depths, _ = build_document(tokenizer, wordings, texts, source, length, facts)
        decoder.run(ids)
        for fact, depth in zip(facts, depths, strict=True):
            answer = ask(decoder, tokenizer, wordings, len(ids), fact)
            right = is_right(wordings, answer, fact[2])
            hits.append(right)
            marks = {
                "depth": f"{int(min(depth, 0.999) * 5) / 5:.1f}",
                "wording": fact[0]["id"],
                "source": source,
            }
            for table, mark in marks.items():
                tables[table].setdefault(mark, []).append(right)
            if not right and len(misses) < 12:
                misses.append([fact[0]["id"], fact[1], fact[2], answer])
    shares = {
        name: {mark: [sum(h), len(h)] for mark, h in sorted(table.items())} for name, table in tables.items()
    }
    return {
        "accuracy": sum(hits) / len(hits),
        "questions": len(hits),
        "documents": documents,
        **shares,
    } | {"misses": misses}
