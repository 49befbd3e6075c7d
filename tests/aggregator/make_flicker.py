"""Records `flicker.json`: `python -m tests.aggregator.make_flicker`.

A gate is closed, opens after 80 s and closes after 80 more; one image a second. Something passes
by 19 times and hides it for one or two images, which then get the wrong label. Each passing changes
the label twice, and the gate itself does so twice: 40 changes.
"""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np

FLICKER = Path(__file__).with_name("flicker.json")
SEED = 17
CHANGES = 40
PASSINGS = 19
TRUTH = ["closed"] * 80 + ["open"] * 80 + ["closed"] * 80


def record(seed: int) -> list[tuple[float, str, float]]:
    """Seconds, label and confidence of each image."""
    rng = np.random.default_rng(seed)
    hidden: set[int] = set()
    for start in rng.choice(np.arange(1, len(TRUTH), 4), PASSINGS, replace=False):
        hidden.update(range(start, start + rng.integers(1, 3)))
    images = []
    for second, truth in enumerate(TRUTH):
        wrong = "open" if truth == "closed" else "closed"
        confidence = float(rng.uniform(0.55, 0.99))
        label = wrong if second in hidden else truth
        images.append((float(second), label, round(confidence, 4)))
    return images


def changes(names: list[str]) -> int:
    """How often a name differs from the one before."""
    return sum(one != two for one, two in pairwise(names))


if __name__ == "__main__":
    recorded = {"seed": SEED, "images": record(SEED)}
    FLICKER.write_text(json.dumps(recorded).replace("], [", "],\n[") + "\n")
