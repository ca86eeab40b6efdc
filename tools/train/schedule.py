"""What is trained when. Everything is a function of progress: trained seconds over planned seconds."""

import random

# (until progress, {context length: share of steps})
PHASES = (
    (0.26, {2048: 1.0}),
    (0.43, {8192: 0.7, 2048: 0.3}),
    (0.79, {32768: 0.55, 16384: 0.15, 8192: 0.1, 2048: 0.2}),
    (1.00, {65536: 0.4, 32768: 0.3, 16384: 0.15, 2048: 0.15}),
)
LENGTHS = (2048, 8192, 16384, 32768, 65536)
# Processes that make batches, per context length.
WORKERS = {2048: 4, 8192: 3, 16384: 2, 32768: 2, 65536: 2}

FULL_RATE_UNTIL = 0.40
FINAL_RATE = 0.02
WARM_UP_STEPS = 40
SINKS_FROM_STEP = 250


def draw_length(progress, step, scale=1):
    """The context length of a step: the same for the same step."""
    for until, shares in PHASES:
        if progress < until or until == 1.0:
            rng = random.Random(step * 7919 + 13)
            lengths = list(shares)
            return rng.choices(lengths, [shares[n] for n in lengths])[0] // scale
    raise AssertionError


def rate_scale(progress, step_since_start):
    """Full rate, then a straight line down; a short warm-up whenever momentum starts from nothing."""
    warm = min(1.0, (step_since_start + 1) / WARM_UP_STEPS)
    if progress <= FULL_RATE_UNTIL:
        return warm
    left = max(0.0, (1 - progress) / (1 - FULL_RATE_UNTIL))
    return warm * (FINAL_RATE + (1 - FINAL_RATE) * left)
