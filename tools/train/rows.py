"""Training rows: plain text, text that repeats itself, and text with facts and questions."""

import random

import numpy as np

from config import BOS_ID, EOS_ID
from needles import FactTokens, draw_facts

# Answers are a smaller part of longer rows.
ANSWER_WEIGHT = 5
LONG_ANSWER_WEIGHT = 10
LONG = 16384
# Below 1, small sources are seen more often than in proportion; they are then learned by heart.
SOURCE_EXPONENT = 1.0


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
        self.shares = np.cumsum(sizes**SOURCE_EXPONENT) / np.sum(sizes**SOURCE_EXPONENT)
        self.kinds = TokenKinds(tokenizer)
        self.wordings = wordings
        self.choices = wordings.in_sets("standard", "direct")
        self.tokens_of = FactTokens(tokenizer, wordings)
        self.rng = random.Random(seed)

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

    def choose_facts(self, length):
        low, high = max(3, length // 1000), max(12, length // 400)
        count = self.rng.randrange(min(low, 48), min(high, 72) + 1)
        some = self.rng.sample(self.choices, self.rng.choice([1, 2, 3, 4, 6, 8, len(self.choices)]))
        return draw_facts(self.wordings, some, count, self.rng)

    def exchange(self, fact, length):
        """Question, answer and end of turn: (ids, weights)."""
        weight = ANSWER_WEIGHT if length < LONG else LONG_ANSWER_WEIGHT
        question = self.tokens_of.question(fact)
        answer = [*self.tokens_of.answer(fact), EOS_ID]
        return question + answer, [1] * len(question) + [weight] * len(answer)

    def needle_row(self, length):
        rng = self.rng
        facts = self.choose_facts(length)
        order = list(range(len(facts)))
        rng.shuffle(order)
        many = max(rng.randrange(len(order)), rng.randrange(len(order))) + 1
        asked = order[: 1 if rng.random() < 0.15 else many]
        in_text = [i for i in asked[1:] if rng.random() < 0.12]
        at_end = [self.exchange(facts[i], length) for i in asked if i not in in_text]
        middle = []
        for i in in_text:
            ids, weights = self.exchange(facts[i], length)
            ids = ids + self.tokens_of.encode("\n\n")
            middle.append((i, (ids, weights + [1] * (len(ids) - len(weights)))))

        added = sum(len(ids) for ids, _ in at_end + [m for _, m in middle])
        added += sum(len(self.insert(fact, True)[0]) for fact in facts)
        body = length - added
        if body < 64:
            return self.text_row(length)
        text = self.strip_end(self.window(body + 16 + len(facts)), body)
        lines, sentences = (
            self.kinds.line_starts(text),
            self.kinds.sentence_starts(text),
        )
        draw = rng.random()
        spots = lines if draw < 0.4 else sentences if draw < 0.6 else np.union1d(lines, sentences)
        if len(spots) < 2:
            spots = np.arange(1, len(text))
        line_spots = set(lines.tolist())
        placed = []
        for i, fact in enumerate(facts):
            spot = int(spots[rng.randrange(len(spots))])
            placed.append((spot, i, self.insert(fact, spot in line_spots)))
        for i, item in middle:
            after = spots[spots > placed[i][0]]
            spot = int(after[rng.randrange(len(after))]) if len(after) else len(text)
            placed.append((spot, len(facts) + i, item))
        return self.assemble(text, sorted(placed), at_end, length)

    def insert(self, fact, at_line):
        around = self.wordings.around_line if at_line else self.wordings.around_sentence
        ids, is_value = self.tokens_of.fact(fact, *around)
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
        needle_share = 0.4 if length <= 2048 else 0.5
        made = []
        for _ in range(rows):
            draw = self.rng.random()
            if draw < needle_share:
                made.append(self.needle_row(length))
            elif draw < needle_share + 0.05:
                made.append(self.copy_row(length))
            else:
                made.append(self.text_row(length))
        return np.stack([t for t, _ in made]), np.stack([w for _, w in made])
