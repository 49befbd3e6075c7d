"""Whether one of two builds is slower, judged by rounds that measured both."""

import math
from collections.abc import Sequence
from typing import NamedTuple

CONFIDENCE = 0.99


class Verdict(NamedTuple):
    """How much time the new build takes, as a factor of the old one's.

    Attributes:
        ratio: the median over all rounds.
        at_least: what the true median is not below, with CONFIDENCE.
    """

    ratio: float
    at_least: float

    def slower_than(self, tolerance: float) -> bool:
        """Whether the new build is slower by more than ``tolerance``, 0.05 for 5 %, for sure."""
        return self.at_least > 1 + tolerance


def judge(old: Sequence[float], new: Sequence[float]) -> Verdict:
    """Compare two builds by pairs of times, one pair from each round.

    What slows both builds of a round cancels in its quotient. The lower bound of the quotients'
    median is the largest of them that the binomial distribution allows (the interval of the sign
    test): it supposes that rounds are independent, and nothing about how noise is distributed.

    Args:
        old: seconds of the old build in each round.
        new: seconds of the new build in the same rounds.

    Raises:
        ValueError: the lengths differ, or there are too few rounds for CONFIDENCE.
    """
    ratios = sorted(b / a for a, b in zip(old, new, strict=True))
    middle = len(ratios) // 2
    ratio = (ratios[middle] + ratios[-middle - 1]) / 2 if ratios else math.nan
    return Verdict(ratio, ratios[_rank(len(ratios))])


def _rank(rounds: int) -> int:
    """Largest index whose ordered value exceeds the median with at most 1 - CONFIDENCE."""
    chance = 0.0
    for rank in range(rounds):
        chance += math.comb(rounds, rank) / 2**rounds
        if chance > 1 - CONFIDENCE:
            if rank == 0:
                break
            return rank - 1
    raise ValueError(f"{rounds} rounds are too few for a confidence of {CONFIDENCE}")
