"""Training rows: plain text, text that repeats itself, and text with facts or tasks and questions."""

import random

import numpy as np

from config import BOS_ID, EOS_ID
from generated import Generator
from needles import FactTokens, draw_facts
from tasks import NAMES, TaskMaker, fact_item

# Answers are a smaller part of longer rows.
ANSWER_WEIGHT = 5
LONG_ANSWER_WEIGHT = 10
LONG = 16384
# Shares of rows; the rest is plain text.
NEEDLES, TASKS, COPIES = 0.34, 0.12, 0.04
# Of the rows with needles: generated wordings alone, those of the file alone; the rest has both.
GENERATED, FROM_FILE = 0.45, 0.35


class TokenKinds:
    """Where a fact can be inserted between two tokens, by what the tokens spell."""

    def __init__(self, tokenizer):
        size = tokenizer.get_vocab_size()
        texts = [tokenizer.decode([i], skip_special_tokens=False) for i in range(size)]
        self.ends_line = np.array([t.endswith("\n") for t in texts])
        self.starts_line_break = np.array([t.startswith(("\n", "\r")) for t in texts])
        self.is_stop = np.array([t in {".", "?", "!"} for t in texts])
        self.starts_sentence = np.array([len(t) > 1 and t[0] == " " and t[1].isupper() for t in texts])

    def line_starts(self, tokens):
        return np.flatnonzero(self.ends_line[tokens[:-1]] & ~self.starts_line_break[tokens[1:]]) + 1

    def sentence_starts(self, tokens):
        return np.flatnonzero(self.is_stop[tokens[:-1]] & self.starts_sentence[tokens[1:]]) + 1


class RowMaker:
    """Makes rows of length + 1 tokens and the weights of their length targets."""

    def __init__(self, streams, tokenizer, wordings, seed):
        self.streams = list(streams.values())
        sizes = np.array([len(s) for s in self.streams], dtype=np.float64)
        self.shares = np.cumsum(sizes) / np.sum(sizes)
        self.kinds = TokenKinds(tokenizer)
        self.wordings = wordings
        self.choices = wordings.in_sets("standard", "direct")
        self.tokens_of = FactTokens(tokenizer, wordings)
        self.rng = random.Random(seed)
        self.tokenizer = tokenizer
        self.generator = Generator(wordings, self.rng, self.some_words(), self.span)
        self.tasks = TaskMaker(self.generator, self.rng)

    def some_words(self):
        """Short lower-case words of the text."""
        text = self.tokenizer.decode(self.window(100_000).tolist())
        words = {w for w in text.split() if w.isascii() and w.isalpha() and w.islower() and 3 < len(w) < 10}
        return sorted(words)

    def span(self):
        return self.tokenizer.decode(self.window(90).tolist())

    def window(self, length):
        pick = int(np.searchsorted(self.shares, self.rng.random()))
        stream = self.streams[min(pick, len(self.streams) - 1)]
        start = self.rng.randrange(max(1, len(stream) - length))
        return np.resize(stream[start : start + length], length)

    def text_row(self, length):
        tokens = np.concatenate([[BOS_ID], self.window(length)]).astype(np.uint16)
        return tokens, np.ones(length, np.uint8)

    def copy_row(self, length):
        tokens, weights = self.text_row(length)
        for _ in range(max(2, length // 2048)):
            size = self.rng.randrange(min(40, length // 16), min(300, length // 4))
            source = self.rng.randrange(1, length - 2 * size)
            target = self.rng.randrange(source + size, length - size)
            tokens[target : target + size] = tokens[source : source + size]
        return tokens, weights

    def facts(self, length):
        rng = self.rng
        low, high = max(3, length // 1000), max(12, length // 400)
        count = rng.randrange(min(low, 48), min(high, 72) + 1)
        draw = rng.random()
        few = rng.choice([1, 2, 3, 4, 6, 8])
        if draw < GENERATED:
            some = [self.generator.draw_wording() for _ in range(few)]
        elif draw < GENERATED + FROM_FILE:
            return draw_facts(self.wordings, self.file_wordings(few), count, rng)
        else:
            some = self.file_wordings(few) + [self.generator.draw_wording() for _ in range(few)]
        # Now and then few keys, of which much is told.
        pool = {}
        narrow = rng.random() < 0.3
        facts, seen = [], set()
        for _ in range(count * 4):
            if len(facts) == count:
                break
            wording, key, value = self.generator.fact(rng.choice(some))
            if narrow:
                keys = pool.setdefault(wording["key"], [])
                if len(keys) < 4:
                    keys.append(key)
                key = rng.choice(keys)
            mark = (wording["question"], key)
            if mark not in seen:
                seen.add(mark)
                facts.append((wording, key, value))
        return facts

    def file_wordings(self, few):
        return self.rng.sample(self.choices, self.rng.choice([few, few, len(self.choices)]))

    def task_items(self, length):
        rng = self.rng
        name = rng.choice(NAMES)
        items = self.tasks.draw(name, rng.randrange(2, max(4, min(16, length // 700))))
        some = rng.sample(self.choices, 2)
        facts = draw_facts(self.wordings, some, rng.randrange(1, max(3, min(12, length // 1000))), rng)
        return items + [fact_item(f) for f in facts]

    def exchange(self, item, length):
        """Question, answer and end of turn: (ids, weights)."""
        weight = item.weight or (ANSWER_WEIGHT if length < LONG else LONG_ANSWER_WEIGHT)
        question = self.tokens_of.question(item.question)
        answer = [*self.tokens_of.answer(item.answer), EOS_ID]
        return question + answer, [1] * len(question) + [weight] * len(answer)

    def needle_row(self, length):
        return self.asked_row(length, [fact_item(f) for f in self.facts(length)])

    def task_row(self, length):
        return self.asked_row(length, self.task_items(length))

    def asked_row(self, length, items):
        rng = self.rng
        order = list(range(len(items)))
        rng.shuffle(order)
        many = max(rng.randrange(len(order)), rng.randrange(len(order))) + 1
        asked = order[: 1 if rng.random() < 0.15 else many]
        in_text = [i for i in asked[1:] if rng.random() < 0.12]
        at_end = [self.exchange(items[i], length) for i in asked if i not in in_text]
        middle = []
        for i in in_text:
            ids, weights = self.exchange(items[i], length)
            ids = ids + self.tokens_of.encode("\n\n")
            middle.append((i, (ids, weights + [1] * (len(ids) - len(weights)))))

        added = sum(len(ids) for ids, _ in at_end + [m for _, m in middle])
        inserts = [(i, piece) for i, item in enumerate(items) for piece in item.inserts]
        added += sum(len(self.insert(piece, True)[0]) for _, piece in inserts)
        body = length - added
        if body < 64:
            return self.text_row(length)
        text = self.strip_end(self.window(body + 16 + len(inserts)), body)
        lines, sentences = (
            self.kinds.line_starts(text),
            self.kinds.sentence_starts(text),
        )
        draw = rng.random()
        spots = lines if draw < 0.4 else sentences if draw < 0.6 else np.union1d(lines, sentences)
        if len(spots) < 2:
            spots = np.arange(1, len(text))
        line_spots = set(lines.tolist())
        placed, last = [], {}
        for item in items:
            # The pieces of one item stand in their order.
            where = sorted(int(spots[rng.randrange(len(spots))]) for _ in item.inserts)
            for spot, piece in zip(where, item.inserts):
                placed.append((spot, len(placed), self.insert(piece, spot in line_spots)))
            last[id(item)] = where[-1]
        for i, item in middle:
            after = spots[spots > last[id(items[i])]]
            spot = int(after[rng.randrange(len(after))]) if len(after) else len(text)
            placed.append((spot, len(placed), item))
        return self.assemble(text, sorted(placed), at_end, length)

    def insert(self, piece, at_line):
        ids, is_value = self.tokens_of.insert(piece, at_line)
        # A random value cannot be predicted, so it isn't trained on.
        return ids, [0 if v else 1 for v in is_value]

    def strip_end(self, text, size):
        """The last `size` tokens before the line breaks that text ends with."""
        end = len(text)
        while end > size and self.kinds.ends_line[text[end - 1]]:
            end -= 1
        return text[end - size : end]

    def assemble(self, text, spots, at_end, length):
        tokens, weights, last = [[BOS_ID]], [[0]], 0
        for spot, _, (ids, item_weights) in spots:
            tokens += [text[last:spot], ids]
            weights += [np.ones(spot - last, np.uint8), item_weights]
            last = spot
        tokens.append(text[last:])
        weights.append(np.ones(len(text) - last, np.uint8))
        for ids, item_weights in at_end:
            tokens.append(ids)
            weights.append(item_weights)
        tokens = np.concatenate([np.asarray(t, np.uint16) for t in tokens])
        weights = np.concatenate([np.asarray(w, np.uint8) for w in weights])
        # The two ways to insert a fact differ by a token or so: keep the end, or fill up.
        missing = length + 1 - len(tokens)
        if missing < 0:
            tokens = np.concatenate([tokens[:1], tokens[1 - missing :]])
            weights = np.concatenate([weights[:1], weights[1 - missing :]])
        elif missing > 0:
            tokens = np.concatenate([tokens, np.full(missing, EOS_ID, np.uint16)])
            weights = np.concatenate([weights, np.zeros(missing, np.uint8)])
        # The weight of a token is the weight of predicting it.
        return tokens, weights[1:]

    def batch(self, length, rows):
        makers = (self.needle_row, self.task_row, self.copy_row, self.text_row)
        shares = (NEEDLES, TASKS, COPIES, 1 - NEEDLES - TASKS - COPIES)
        made = [maker(length) for maker in self.rng.choices(makers, shares, k=rows)]
        return np.stack([t for t, _ in made]), np.stack([w for _, w in made])
