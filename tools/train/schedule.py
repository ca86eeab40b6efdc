"""What is trained when. Everything is a function of progress: trained seconds over planned seconds."""

import math
import random

# Share of the trained time per context length, and seconds of a step relative to one at 2K (H100).
TIME = {2048: 0.09, 4096: 0.21, 8192: 0.19, 16384: 0.19, 32768: 0.18, 65536: 0.14}
COST = {2048: 1.0, 4096: 1.15, 8192: 1.5, 16384: 2.2, 32768: 3.9, 65536: 7.2}
# Processes that make batches, per context length.
WORKERS = {2048: 3, 4096: 4, 8192: 3, 16384: 2, 32768: 2, 65536: 1}

# Of the full rate, at which the weights were first trained.
PEAK_RATE = 0.45
WARM_UP_STEPS = 60
DROPOUT = 0.1
DROPOUT_UNTIL = 0.85
# The share of pairs that the gate applies to grows to this over the first tenth.
GATED = 2 / 3
GATED_FROM = 0.10


def draw_length(step, scale=1):
    """The context length of a step: the same for the same step."""
    rng = random.Random(step * 7919 + 13)
    shares = [TIME[n] / COST[n] for n in TIME]
    return rng.choices(list(TIME), shares)[0] // scale


def rate_scale(progress, step_since_start):
    """A cosine down to nothing; a short warm-up whenever momentum starts from nothing."""
    warm = min(1.0, (step_since_start + 1) / WARM_UP_STEPS)
    return warm * PEAK_RATE * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def dropout(progress):
    return DROPOUT if progress < DROPOUT_UNTIL else 0.0


def gated(progress):
    return GATED * min(1.0, progress / GATED_FROM)
